"""The weights of a model against its class, before anything runs: what is built is on torch's meta device, without
memory, and of safetensors the headers alone are read. Text encoders are not compared here: transformers renames their
weights while it reads them."""

from __future__ import annotations

from typing import Any

import torch

from leakbench.models.pretrained.bad_settings import bad_settings
from leakbench.models.pretrained.header_check import compare, held_shapes
from leakbench.models.pretrained.inspect import ENCODERS, TOKENIZERS, Folder, Part
from leakbench.models.pretrained.peft_names import unwrap
from leakbench.models.pretrained.pickles import load_pickle
from leakbench.models.pretrained.quantised import is_quantised, list_shapes
from leakbench.models.pretrained.weight_files import weight_files
from leakbench.models.pretrained.weights import outline_model, read_file


def check_weights(folder: Folder, trust_pickle: bool) -> None:
    """Check the networks of a model. Raises UsageError for weights that are missing, of another shape, or unknown."""
    import diffusers

    for part in folder.parts.values():
        if part.loaded is None and part.kind not in (*ENCODERS, *TOKENIZERS):
            _check(getattr(diffusers, part.kind), part, trust_pickle)


def _check(kind: Any, part: Part, trust_pickle: bool) -> None:
    with bad_settings(str(part.config_file)):
        network: Any = outline_model(kind, part.config)
    held = unwrap(_held(kind, part, trust_pickle), str(part.file or part.folder))
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    if is_quantised(part.config):
        held = list_shapes(held, expected)
    compare(part, network._fix_state_dict_keys_on_load(held), expected, kind._keys_to_ignore_on_load_unexpected or ())


def _held(kind: Any, part: Part, trust_pickle: bool) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights by name, as they are handed to the class."""
    if part.file is not None:
        tensors: dict[str, Any] = read_file(kind, part, trust_pickle)
    elif (found := held_shapes(part)) is not None:
        return found
    else:
        files = [file for file in weight_files(part.folder) if file.suffix != ".json"]
        tensors = {name: one for file in files for name, one in load_pickle(file, trust_pickle).items()}
    return {name: tuple(one.shape) for name, one in tensors.items() if isinstance(one, torch.Tensor)}

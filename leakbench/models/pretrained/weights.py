"""Weights without programs: safetensors, or pickles that hold nothing but tensors.

A pickle is a program that runs while it is read. torch reads one with weights_only = True as long as it does nothing
but rebuild tensors; all others are refused unless the user trusts the file. Models are built by classes of diffusers
and transformers, and a model some of whose weights are missing is refused: random numbers would take their place.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from leakbench.models.pretrained.bad_settings import FAULTS
from leakbench.models.pretrained.header_work import read_header
from leakbench.models.pretrained.inspect import Part
from leakbench.models.pretrained.layouts.single_file import to_diffusers_names
from leakbench.models.pretrained.layouts.state_dict import read_state_dict
from leakbench.models.pretrained.peft_names import is_wrapped, unwrap
from leakbench.models.pretrained.pickles import load_pickle
from leakbench.models.pretrained.quantised import is_quantised, to_numbers
from leakbench.models.pretrained.weight_files import STEMS, read_table, weight_files
from leakbench.runtime.errors import UsageError, in_a_line


def read_file(kind: Any, part: Part, trust_pickle: bool) -> dict[str, torch.Tensor]:
    """The tensors of a part whose weights are one file, by diffusers' names. Raises UsageError."""
    assert part.file is not None
    outline = outline_model(kind, part.config)
    tensors = read_state_dict(part.file, trust_pickle).named(dict(outline.named_parameters()), part.file)
    expected = set(outline.state_dict())
    return to_diffusers_names(kind, part.config, unwrap(tensors, str(part.file)), expected, part.file)


def load_file_model(kind: Any, part: Part, trust_pickle: bool, **more: Any) -> nn.Module:
    """A model of diffusers whose weights are one file, as load_model reads a folder. Raises UsageError."""
    assert part.file is not None
    tensors = read_file(kind, part, trust_pickle)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "config.json").write_text(json.dumps(part.config | {"_class_name": kind.__name__}))
        _save(tensors, folder / f"{STEMS[0]}.safetensors")
        return load_model(kind, folder, trust_pickle, part.file, low_cpu_mem_usage=False, **more)


def load_model(kind: Any, folder: Path, trust_pickle: bool, where: Path | None = None, **more: Any) -> nn.Module:
    """A model of diffusers or transformers with the folder's weights, in eval mode, without gradients; float32 unless
    `more` has a torch_dtype. where: what messages call the folder. Raises UsageError."""
    where = where or folder
    settings = read_table(folder / "config.json")
    with tempfile.TemporaryDirectory() as temporary, _known_settings(settings):
        ready, variant = _ready(folder, settings, Path(temporary), trust_pickle, where)
        try:
            _check_size(kind, ready)
            model, told = kind.from_pretrained(
                ready, use_safetensors=True, local_files_only=True, output_loading_info=True, variant=variant, **more
            )
        except (OSError, SafetensorError, *FAULTS) as error:
            raise UsageError(f"{where}: not a {kind.__name__}: {in_a_line(error)[:200]}") from None
    missing = [*told["missing_keys"], *(key[0] for key in told["mismatched_keys"])]
    if missing:
        raise UsageError(
            f"{where}: {len(missing)} weights are missing or of another shape, such as {missing[0]!r}: "
            "they are not those of these settings, or not whole: save or fetch the model again"
        )
    found: nn.Module = (model if "torch_dtype" in more else model.float()).eval().requires_grad_(False)
    return found


@contextmanager
def _known_settings(settings: dict[str, Any]) -> Iterator[None]:
    """Without diffusers' warning of unknown settings, where they are what it writes itself into the config of a moving
    average."""
    logger = logging.getLogger("diffusers.configuration_utils")
    level = logger.level
    if "optimization_step" in settings:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _check_size(kind: Any, folder: Path) -> None:
    """Raise UsageError where the settings ask for a network several times as large as the weights in the folder: built
    before they are read, it could fill the memory. Nothing is allocated here."""
    held = sum(math.prod(shape) for path in folder.glob("*.safetensors") for shape in read_header(path).values())
    asked = sum(one.numel() for one in outline_model(kind, read_table(folder / "config.json")).parameters())
    if asked > 2 * held + 2**20:
        raise UsageError(
            f"{folder / 'config.json'}: asks for a network of {asked:,} parameters, and the weights beside it "
            f"are {held:,}"
        )


def outline_model(kind: Any, settings: dict[str, Any]) -> nn.Module:
    """A model by its settings, without memory for weights: they are of the device "meta"."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that are not known: from_pretrained says so
        found = kind.from_config(settings) if hasattr(kind, "from_config") else kind(kind.config_class(**settings))
    model: nn.Module = found
    return model


def _ready(
    folder: Path, settings: dict[str, Any], temporary: Path, trust_pickle: bool, where: Path
) -> tuple[Path, str | None]:
    """A folder with safetensors, and their variant: itself, or a copy that pickles, quantised weights, or weights of
    PEFT's names, were turned into."""
    first, *shards = weight_files(folder)
    variant = "fp16" if ".fp16" in first.name else None
    is_plain = "safetensors" in first.name
    if is_plain and not is_wrapped(folder) and not is_quantised(settings):
        return folder, variant
    files = shards or [first]
    tensors: dict[str, Any] = {}
    for file in files:
        tensors |= load_file(file) if is_plain else load_pickle(file, trust_pickle)
    if is_quantised(settings):
        tensors = to_numbers(tensors, files, settings, where)
    tensors = unwrap(tensors, str(folder))
    stem = STEMS[0] if first.name.startswith(STEMS[0]) else STEMS[1]
    _save(tensors, temporary / f"{stem}.safetensors")
    plain = {name: value for name, value in settings.items() if name != "quantization_config"}
    (temporary / "config.json").write_text(json.dumps(plain))
    return temporary, None


def _save(tensors: dict[str, Any], file: Path) -> None:
    # copies: safetensors keeps no two names for one memory
    kept = {key: value.clone().contiguous() for key, value in tensors.items() if isinstance(value, torch.Tensor)}
    save_file(kept, file, metadata={"format": "pt"})

"""Checks of a model's files that need neither torch nor the weights: whole files, shards that hold what their index
says, and the parameters of a network against its settings where these are known by rule.

They raise UsageError in one line, in a plan as in a run, so that no cell fails for it later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from leakbench.models.pretrained.bad_settings import bad_settings
from leakbench.models.pretrained.header_work import read_header
from leakbench.models.pretrained.inspect import TOKENIZERS, Folder, Part
from leakbench.models.pretrained.peft_names import unwrap
from leakbench.models.pretrained.quantised import check_library, is_quantised
from leakbench.models.pretrained.unet_parameters import list_unet_parameters
from leakbench.models.pretrained.weight_files import read_table, weight_files
from leakbench.runtime.errors import UsageError

Shapes = Mapping[str, tuple[int, ...]]


def check_files(folder: Folder) -> None:
    """Check that every part has its files, whole. Raises UsageError."""
    for part in folder.parts.values():
        if part.loaded is not None:
            continue
        if part.kind in TOKENIZERS:
            if not part.folder.is_dir() or not any(part.folder.iterdir()):
                raise UsageError(f"{part.folder}: no files of a {part.kind}")
            continue
        held = held_shapes(part)
        if is_quantised(part.config):
            check_library(part.config, part.config_file)
        elif held is not None and part.file is None and part.kind == "UNet2DModel":
            with bad_settings(str(part.config_file)):
                expected = list_unet_parameters(part.config)
            if expected is not None:
                compare(part, _renamed(unwrap(held, str(part.folder))), expected)


def knows_all(folder: Folder) -> bool:
    """Tell whether check_files has compared every weight that a run would miss."""
    body = folder.parts["body"]
    others = [part for role, part in folder.parts.items() if role != "body" and part.kind not in TOKENIZERS]
    if body.file is not None or body.kind != "UNet2DModel" or is_quantised(body.config):
        return False
    with bad_settings(str(body.config_file)):
        known = list_unet_parameters(body.config) is not None
    return known and not others and held_shapes(body) is not None


def held_shapes(part: Part) -> dict[str, tuple[int, ...]] | None:
    """Shapes of the tensors in a part's files by name; None of pickles. Raises UsageError for a file that is cut off,
    and for shards that are not as their index says."""
    files = (part.file,) if part.file else weight_files(part.folder)
    for file in files:
        if not file.is_file():
            raise UsageError(f"{file}: missing, and its index names it")
    if not any(file.suffix == ".safetensors" for file in files):
        return None
    found = {file.name: _whole_header(file) for file in files if file.suffix == ".safetensors"}
    if files[0].suffix == ".json":
        for name, file in dict(read_table(files[0])["weight_map"]).items():
            if name not in found.get(file, ()):
                raise UsageError(f"{files[0].parent / file}: without {name!r}, which {files[0].name} names")
    return {name: shape for header in found.values() for name, shape in header.items()}


def _whole_header(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes in a file that is as long as its header says. Raises UsageError."""
    shapes = read_header(file)
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        table = json.loads(opened.read(length))
    try:
        ends = [int(one["data_offsets"][1]) for name, one in table.items() if name != "__metadata__"]
    except (KeyError, IndexError, TypeError, ValueError):
        raise UsageError(f"{file}: not a safetensors file: a tensor's data_offsets are no two numbers") from None
    expected, size = 8 + length + max(ends, default=0), file.stat().st_size
    if size < expected:
        raise UsageError(f"{file}: cut off: {size:,} bytes of {expected:,}; fetch it again")
    return shapes


def compare(part: Part, held: Shapes, expected: Shapes, ignored: Collection[str] = ()) -> None:
    """Compare the weights that a part has with those that it should have. ignored: patterns of names that may be there
    in vain. Raises UsageError for weights that are missing, of another shape, or unknown."""
    where = part.file or part.folder
    missing = [name for name in expected if name not in held]
    missing += [name for name, shape in expected.items() if name in held and tuple(held[name]) != tuple(shape)]
    if missing:
        raise UsageError(
            f"{where}: {len(missing)} weights are missing or of another shape, such as {missing[0]!r}: "
            "they are not those of these settings, or not whole: save or fetch the model again"
        )
    unknown = [name for name in held if name not in expected and not any(re.search(one, name) for one in ignored)]
    if unknown:
        raise UsageError(
            f"{where}: {len(unknown)} weights that a {part.kind} of these settings has not, such as {unknown[0]!r}: "
            "they are of another network"
        )


_OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # names of attention before 0.15


def _renamed(held: Shapes) -> dict[str, tuple[int, ...]]:
    """Names of attention as diffusers has them today."""
    pattern = re.compile(r"(attentions\.\d+)\.(query|key|value|proj_attn)\.")
    return {pattern.sub(lambda found: f"{found[1]}.{_OLD[found[2]]}.", name): shape for name, shape in held.items()}

"""Files of a model's weights, and JSON files of settings: found and read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from leakbench.runtime.errors import UsageError

STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_VARIANTS = ("", ".fp16")


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files to read, safetensors before pickles and full precision before half. Raises UsageError for none."""
    for ending in ("safetensors", "bin", "pt"):
        for stem in STEMS:
            for variant in _VARIANTS:
                if (whole := folder / f"{stem}{variant}.{ending}").is_file():
                    return (whole,)
                if (index := folder / f"{stem}.{ending}.index{variant}.json").is_file():
                    return (index, *_shards(index))
    raise UsageError(f"{folder}: no weights; it should hold {STEMS[0]}.safetensors or {STEMS[1]}.safetensors")


def _shards(index: Path) -> list[Path]:
    """The files of an index; none outside of its folder."""
    names = sorted({str(name) for name in dict(read_table(index).get("weight_map", {})).values()})
    if any(Path(name).name != name for name in names):
        raise UsageError(f"{index}: names a file outside of its folder")
    return [index.parent / name for name in names]


def read_table(path: Path) -> dict[str, Any]:
    """The settings in a JSON file. Raises UsageError."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path}: not a table of settings")
    return found

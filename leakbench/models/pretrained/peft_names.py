"""Weights of a model that PEFT had wrapped when it was saved.

A pipeline that is saved with an adapter loaded, fused or not, has the names that PEFT gives: x.base_layer.weight, and
x.lora_A.NAME.weight beside it. diffusers then misses x.weight. Without the adapter's weights the names are plain but
for the word, and are read; with them nothing tells whether base_layer holds the adapter already, and they are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from leakbench.models.pretrained.header_work import read_header
from leakbench.models.pretrained.weight_files import weight_files
from leakbench.runtime.errors import UsageError

_Value = TypeVar("_Value")
_WRAPPED = ".base_layer."
_ADAPTER = re.compile(
    r"\.(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|lora_layer|lokr_w[12]|hada_w[12])(_[ab])?\."
)


def is_wrapped(folder: Path, file: Path | None = None) -> bool:
    """Tell whether the weights in a folder, or in one file, have PEFT's names, by the headers of safetensors files;
    False for pickles and where there are none. Raises UsageError where they cannot be read as a model's."""
    try:
        found = [file] if file else weight_files(folder)
    except UsageError:
        return False  # what is missing is said when files are listed
    files = [path for path in found if path.suffix == ".safetensors" and path.is_file()]
    return _check(tuple((path, path.stat().st_mtime_ns) for path in files), str(file or folder))


@lru_cache(maxsize=32)
def _check(files: tuple[tuple[Path, int], ...], where: str) -> bool:
    names = [name for path, _ in files for name in read_header(path)]
    _refuse(names, where)
    return any(_WRAPPED in name for name in names)


def unwrap(tensors: Mapping[str, _Value], where: str) -> dict[str, _Value]:
    """The same by plain names. Raises UsageError."""
    _refuse(tensors, where)
    return {name.replace(_WRAPPED, "."): value for name, value in tensors.items()}


def _refuse(names: Iterable[str], where: str) -> None:
    known = set(names)
    if found := next((name for name in sorted(known) if _ADAPTER.search(name)), None):
        raise UsageError(
            f"{where}: {found} among its weights: a model saved with an adapter on it, which may be merged into it or "
            "not: save it after fuse_lora() and unload_lora_weights(), or give its base and --lora FILE"
        )
    twice = (name for name in sorted(known) if _WRAPPED in name and name.replace(_WRAPPED, ".") in known)
    if found := next(twice, None):
        raise UsageError(f"{where}: has {found} and {found.replace(_WRAPPED, '.')}: two weights for one place")

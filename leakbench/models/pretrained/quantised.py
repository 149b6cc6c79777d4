"""Quantised weights: turned into the numbers that they stand for, without their settings for a library's own layers.

So a quantised network answers as its own numbers do, computed in float32, whatever precision it is served with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from leakbench.runtime.errors import UsageError, in_a_line, to_printable

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_KNOWN = ("bitsandbytes", "torchao")  # methods of diffusers' and transformers' settings
_OF_TORCHAO = re.compile(r"^(.+)\._([^._]+)_\w+$")  # a name of one of the tensors that a quantised weight is kept as


def is_quantised(config: Mapping[str, Any]) -> bool:
    """Tell whether a part's settings say that its weights are quantised."""
    return "quantization_config" in config


def check_library(config: Mapping[str, Any], where: object) -> str:
    """The method by which weights are quantised. Raises UsageError for one that is not known, or whose library is not
    installed."""
    said = config.get("quantization_config")
    method = said.get("quant_method") if isinstance(said, Mapping) else None
    if method not in _KNOWN:
        raise UsageError(f"{where}: quantised by {method!r}, which is not known; known are {', '.join(_KNOWN)}, gguf")
    if method != "bitsandbytes":
        _check_installed(str(method), where)
    return str(method)


def _check_installed(method: str, where: object) -> None:
    if find_spec(method) is None:
        raise UsageError(f"{where}: quantised by {method}: pip install {method}, which is not there")


def to_numbers(
    tensors: dict[str, Tensor], files: Sequence[Path], config: Mapping[str, Any], where: object
) -> dict[str, Tensor]:
    """Weights by name as plain numbers, of the tensors in files and the settings beside them. Raises UsageError."""
    if check_library(config, where) == "torchao":
        return _from_torchao(tensors, files, where)
    from leakbench.models.pretrained.bitsandbytes_weights import unpack

    return unpack(tensors, where)


def list_shapes(held: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Shapes of quantised weights by name, from headers; of packed ones, whose shape no header says, the expected."""
    from leakbench.models.pretrained.bitsandbytes_weights import is_part

    found: dict[str, Any] = {}
    for name, shape in held.items():
        if part := _OF_TORCHAO.match(name):
            weight = f"{part[1]}.{part[2]}"
            found[weight] = expected.get(weight, shape)
        elif not is_part(name):
            found[name] = expected.get(name, shape) if f"{name}.absmax" in held else shape
    return found


def _from_torchao(tensors: dict[str, Tensor], files: Sequence[Path], where: object) -> dict[str, Tensor]:
    import torch

    try:
        found = _join(tensors, files)
        stored = sum(value.numel() * value.element_size() for value in tensors.values())
        for name, value in found.items():
            if type(value).__module__.startswith("torchao"):
                if value.numel() > 2 * stored:
                    raise ValueError(f"{name} says that it is larger than all that is there")
                if type(value).dequantize is torch.Tensor.dequantize:
                    raise ValueError(f"{name} is a {type(value).__name__}, which torchao itself cannot turn back")
                found[name] = value.dequantize()
        return found
    except Exception as error:  # of whatever damaged metadata make the library raise
        said = to_printable(in_a_line(error))[:160]
        raise UsageError(f"{where}: not weights of torchao: {said}") from None


def _join(tensors: dict[str, Tensor], files: Sequence[Path]) -> dict[str, Any]:
    """The weights by name, quantised ones as torchao's own tensors, of the tensors that safetensors keep each as."""
    from safetensors import safe_open
    from torchao.prototype.safetensors.safetensors_support import (  # type: ignore[import-not-found]
        unflatten_tensor_state_dict,
    )

    told: dict[str, str] = {}
    names: dict[str, None] = {}
    for file in files:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                said = opened.metadata() or {}
            told |= said
            names |= dict.fromkeys(json.loads(said.get("tensor_names", "[]")))
    inside = [name for name in names if "." in name]  # torchao reads no name of the network itself
    if not inside:
        return dict(tensors)
    found, left = unflatten_tensor_state_dict(dict(tensors), told | {"tensor_names": json.dumps(inside)})
    if parts := [name for name in left if _OF_TORCHAO.match(name)]:
        raise ValueError(f"{parts[0]} is a part of a weight whose other parts are missing")
    return found | left


def read_gguf(file: Path) -> dict[str, Tensor]:
    """The tensors of a GGUF file by name, float32. Raises UsageError."""
    _check_installed("gguf", file)
    import gguf  # type: ignore[import-not-found]
    import numpy as np
    import torch

    try:
        reader = gguf.GGUFReader(file)
        found = {}
        for one in reader.tensors:
            values = gguf.quants.dequantize(one.data, one.tensor_type)
            field = reader.get_field(f"comfy.gguf.orig_shape.{one.name}")  # of tools that flatten what has many sides
            shape = values.shape if field is None else tuple(int(field.parts[part][0]) for part in field.data)
            found[str(one.name)] = torch.from_numpy(np.array(values, dtype=np.float32).reshape(shape))
        return found
    except Exception as error:  # of whatever a damaged file makes the library raise
        raise UsageError(f"{file}: not a GGUF file: {in_a_line(error)[:120]}") from None

"""Quantised weights: read by the library that made them, and turned into the float32 numbers that they stand for.

So a quantised network answers as its own numbers do, computed in float32, whatever precision it is served with.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from leakbench.runtime.errors import UsageError, in_a_line

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

_LIBRARIES = {  # what each method of diffusers and transformers needs
    "bitsandbytes": ("bitsandbytes", "accelerate"),
    "torchao": ("torchao", "accelerate"),
    "gguf": ("gguf",),
}


def is_quantised(config: Mapping[str, Any]) -> bool:
    """Tell whether a part's settings say that its weights are quantised."""
    return "quantization_config" in config


def check_library(config: Mapping[str, Any], where: object) -> None:
    """Raise UsageError for weights that are quantised by a method that is not known, or whose library is not
    installed."""
    said = config.get("quantization_config")
    method = said.get("quant_method") if isinstance(said, Mapping) else None
    if method not in ("bitsandbytes", "torchao"):
        raise UsageError(f"{where}: quantised by {method!r}, which is not known; known are bitsandbytes, torchao, gguf")
    _check_installed(str(method), where)


def _check_installed(method: str, where: object) -> None:
    missing = [name for name in _LIBRARIES[method] if find_spec(name) is None]
    if missing:
        raise UsageError(f"{where}: quantised by {method}: pip install {' '.join(missing)}, which is not there")


def to_float(model: Any) -> nn.Module:
    """A quantised model with plain float32 weights in place of its own."""
    import torch

    if any(type(one).__module__.startswith("torchao") for one in model.parameters()):
        for module in model.modules():
            for name, value in list(module.named_parameters(recurse=False)):
                if type(value.data).__module__.startswith("torchao") or hasattr(value, "tensor_impl"):
                    setattr(module, name, torch.nn.Parameter(value.dequantize().float(), requires_grad=False))
        plain: nn.Module = model.float()
        return plain
    found: nn.Module = model.dequantize().cpu().float()
    return found


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

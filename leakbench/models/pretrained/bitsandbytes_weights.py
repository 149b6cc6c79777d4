"""Weights that bitsandbytes packed in 4 or 8 bits, as safetensors keep them: unpacked here, so that no GPU, which
diffusers asks for, and no compiled code of the library is needed to read what a stranger packed.

8 bits: a row of int8 numbers times the row's largest magnitude (`SCB`) / 127. 4 bits: two numbers a byte, the first in
the high half; each stands for an entry of a table of 16 (`quant_map`), times the largest magnitude of its block
(`absmax`), which with double quantisation is packed as well. A test compares both with the library's own.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import torch
from torch import Tensor

from leakbench.runtime.errors import UsageError, in_a_line, to_printable

_STATE = re.compile(r"\.quant_state\.bitsandbytes__(nf4|fp4)$")
_PARTS = (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ".SCB", ".weight_format")
_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def is_part(name: str) -> bool:
    """Tell whether a name is of what a packed weight is read with, and no weight's own."""
    return name.endswith(_PARTS) or _STATE.search(name) is not None


def unpack(tensors: dict[str, Tensor], where: object) -> dict[str, Tensor]:
    """The weights by name, packed ones as the numbers that they stand for. Raises UsageError."""
    found = {name: value for name, value in tensors.items() if not is_part(name)}
    for name in tensors:
        try:
            if state := _STATE.search(name):
                weight = name[: state.start()]
                found[weight] = _from_4_bits(tensors, weight, _settings(tensors[name]))
            elif name.endswith(".SCB"):
                weight = name.removesuffix("SCB") + "weight"
                found[weight] = _from_8_bits(tensors, weight, tensors[name])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
            said = to_printable(f"{weight}: {in_a_line(error)}")[:160]
            raise UsageError(f"{where}: not weights of bitsandbytes: {said}") from None
    return found


def _settings(packed: Tensor) -> dict[str, Any]:
    return dict(json.loads(bytes(packed.to(torch.uint8).tolist())))


def _from_8_bits(tensors: dict[str, Tensor], name: str, largest: Tensor) -> Tensor:
    weight, order = tensors[name], tensors.get(name + "_format")
    if order is not None and int(order) != 0:
        raise ValueError("in an order of old versions for one kind of GPU: save it again with a version of today")
    if weight.dtype != torch.int8 or weight.ndim != 2 or largest.numel() != len(weight):
        raise ValueError("an int8 matrix and one number for each of its rows are expected")
    return weight.float() * (largest.float().view(-1, 1) * (1 / 127))


def _from_4_bits(tensors: dict[str, Tensor], name: str, said: dict[str, Any]) -> Tensor:
    packed = tensors[name].contiguous().view(torch.uint8).flatten()
    shape = [int(side) for side in said["shape"]]
    count = math.prod(shape)
    if min(shape, default=0) < 1 or (count + 1) // 2 != packed.numel():
        raise ValueError(f"{packed.numel()} bytes are no two numbers a byte of shape {shape}")
    absmax = tensors[f"{name}.absmax"].flatten()
    if "nested_blocksize" in said:
        table, largest = tensors[f"{name}.nested_quant_map"], tensors[f"{name}.nested_absmax"]
        absmax = _scaled(table[absmax.long()], largest, said["nested_blocksize"]) + float(said["nested_offset"])
    halves = torch.stack([packed >> 4, packed & 15], dim=1).flatten()[:count]
    values = _scaled(tensors[f"{name}.quant_map"][halves.long()], absmax, said["blocksize"])
    return values.view(shape).to(_TYPES[said["dtype"]])


def _scaled(values: Tensor, largest: Tensor, block: Any) -> Tensor:
    """Numbers in a row, each times its block's largest magnitude."""
    if not 1 <= int(block) <= 2**16 or largest.numel() != -(-values.numel() // int(block)):
        raise ValueError(f"{largest.numel()} blocks of {block} for {values.numel()} numbers")
    return values.float() * largest.flatten().float().repeat_interleave(int(block))[: values.numel()]

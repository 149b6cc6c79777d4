"""Half-precision weights where float32 does not fit: kept as they are, and taken as float32 one layer at a time.

Every number of fp16 and bf16 is one of float32, so a layer computes what it would with float32 weights: scores are
differences of near-equal numbers, which arithmetic in half precision would drown. It takes the memory of half the
network and of one layer, and the time of a cast at every call. Networks ask the weights of their time's embedding, or
their first one, for the type to which they cast what they are given: these few are kept as float32. So the answer is
that of float32 weights to the last bit, which a test has of every family, and the choice, which is made by free memory,
moves no number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from leakbench.models.pretrained.header_work import read_types
from leakbench.models.pretrained.inspect import TOKENIZERS, Part
from leakbench.models.pretrained.quantised import is_quantised
from leakbench.models.pretrained.weight_files import weight_files
from leakbench.models.pretrained.weights import outline_model
from leakbench.runtime.errors import UsageError

_FULL, _HALF = 0.7, 0.9  # of free memory, what weights may take: the rest is for what layers compute
_ASKED = re.compile(r"time|(^|\.)t_embed")  # modules whose weights' type is asked for
_TYPES = {"F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Precision:
    """kept: the type in which weights are kept. mixed: their files hold float32 beside it, and are read as that."""

    kept: torch.dtype = torch.float32
    mixed: bool = False

    @property
    def more(self) -> dict[str, Any]:
        """What the class's from_pretrained is told of it."""
        return {} if self.mixed or self.kept == torch.float32 else {"torch_dtype": self.kept}


def choose_precision(part: Part, device: torch.device) -> Precision:
    """The precision in which a network's weights are kept on a device: float32 where that fits, else that of its files;
    of quantised ones float32. Raises UsageError where none fits."""
    free = free_memory(device)
    if free is None or part.loaded is not None:
        return Precision()
    if is_quantised(part.config):
        return _of_quantised(part, free, device)
    found = [one for file in _weights(part) for one in read_types(file).values()]
    sizes: dict[str, int] = {}
    for kind, shape in found:
        sizes[kind] = sizes.get(kind, 0) + math.prod(shape)
    full = 4 * sum(sizes.values())
    if full <= _FULL * free:
        return Precision()
    kept = max(sizes, key=lambda kind: sizes[kind])
    as_stored = full - 2 * sizes[kept]
    if kept in _TYPES and as_stored <= _HALF * free:
        return Precision(_TYPES[kept], mixed=len(sizes) > 1)
    half = f" and {as_stored / 1e9:.1f} GB as they are stored" if kept in _TYPES else ""
    raise UsageError(
        f"{part.file or part.folder}: its weights take {full / 1e9:.1f} GB in float32{half}, and {free / 1e9:.1f} GB "
        f"of {device.type} memory are free"
    )


def _of_quantised(part: Part, free: int, device: torch.device) -> Precision:
    import diffusers

    full = 4 * sum(one.numel() for one in outline_model(getattr(diffusers, part.kind), part.config).parameters())
    if full > _FULL * free:
        raise UsageError(
            f"{part.file or part.folder}: its quantised weights are taken as float32, which takes {full / 1e9:.1f} GB, "
            f"and {free / 1e9:.1f} GB of {device.type} memory are free"
        )
    return Precision()


def place_for_encoders(parts: Iterable[Part], device: torch.device) -> torch.device:
    """The device, or the CPU where the text encoders do not fit on it as float32."""
    free = free_memory(device)
    files = [file for part in parts if part.kind not in TOKENIZERS and part.loaded is None for file in _weights(part)]
    count = sum(math.prod(shape) for file in files for _, shape in read_types(file).values())
    return device if free is None or 4 * count <= _FULL * free else torch.device("cpu")


def _weights(part: Part) -> list[Path]:
    files = (part.file,) if part.file else weight_files(part.folder)
    return [file for file in files if file.suffix == ".safetensors"]


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def take_as_float32(network: nn.Module, precision: Precision) -> None:
    """Keep weights in their precision, and have every layer compute with them as float32. Of files of several types,
    which were read as float32, the weights that a half holds exactly are kept in it."""
    if precision.kept == torch.float32:
        return
    for weight in network.parameters() if precision.mixed else ():
        half = weight.data.to(precision.kept)
        if torch.equal(half.float(), weight.data):
            weight.data = half
    first = next((name for name, _ in network.named_parameters()), "").rpartition(".")[0]
    for name, module in network.named_modules():
        if _ASKED.search(name) or name == first:
            for weight in module.parameters(recurse=False):
                weight.data = weight.data.float()
        elif any(_is_half(value) for value in module._parameters.values()):
            module.register_forward_pre_hook(_widen, with_kwargs=True)
            module.register_forward_hook(_narrow, always_call=True)


def describe_precision(network: nn.Module) -> str:
    """In words, for the record; "" for float32."""
    kinds = sorted({str(one.dtype).removeprefix("torch.") for one in network.parameters() if _is_half(one)})
    return f"{' and '.join(kinds)}, taken as float32 one layer at a time" if kinds else ""


def _is_half(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype in _TYPES.values()


def _widen(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    kept = {name: value for name, value in module._parameters.items() if _is_half(value)}
    module.__dict__["_kept_half"] = kept
    halves: dict[int, Tensor] = {}
    for name, value in kept.items():
        assert value is not None
        wide = value.float()
        halves[wide.untyped_storage().data_ptr()] = value
        module._parameters[name] = wide  # type: ignore[assignment]
    if torch.is_grad_enabled() and torch._C._functorch.peek_interpreter_stack() is None:
        hooks = saved_tensors_hooks(partial(_pack, halves), _unpack)
        hooks.__enter__()
        module.__dict__["_kept_hooks"] = hooks
    return tuple(_full(one) for one in args), {name: _full(one) for name, one in kwargs.items()}


def _narrow(module: nn.Module, _args: Any, _answer: Any) -> None:
    module._parameters.update(module.__dict__.pop("_kept_half", {}))
    hooks = module.__dict__.pop("_kept_hooks", None)
    if hooks is not None:
        hooks.__exit__()


def _pack(halves: dict[int, Tensor], saved: Tensor) -> Any:
    """What is kept for a gradient: of a widened weight, or a view of one, the half that it was made from."""
    half = halves.get(saved.untyped_storage().data_ptr())
    return saved if half is None else (half, saved.size(), saved.stride(), saved.storage_offset())


def _unpack(kept: Any) -> Tensor:
    if isinstance(kept, Tensor):
        return kept
    half, size, stride, offset = kept
    found: Tensor = half.detach().float().as_strided(size, stride, offset)
    return found


def _full(value: Any) -> Any:
    return value.float() if _is_half(value) else value

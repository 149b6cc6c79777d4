"""Precision and memory format of networks.

bf16 for training and sampling on CUDA; float32 for scores, which are differences of near-equal numbers, and everywhere
on the CPU, where bf16 is slower on most machines. On one that has bf16 instructions a call of a UNet takes 0.6 to 0.7
of the time (benchmarks/speed/test_attacks.py), but of a UNet that was trained on 48 digits of 32x32 it ranked SecMI's
scores otherwise (rank correlation 0.90) and moved PIA's AUC from 0.600 to 0.585. channels_last on CUDA, where
convolutions of images run faster in it; not on the CPU, where calls gained 6 to 19 % and training steps lost 5 %.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def autocast(device: torch.device, cached: bool = True) -> AbstractContextManager[object]:
    """Autocast to bf16 on CUDA, for training and sampling; no autocast on the CPU.

    `cached=True` casts weights once. Pass False where they change inside, or are first used without gradients.
    """
    if device.type != "cuda":
        return nullcontext()
    return torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=cached)


def place(module: Module, device: torch.device) -> Module:
    """Move a network to the device, in channels_last on CUDA."""
    if device.type == "cuda" and takes_channels_last(module):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module.to(device)


def takes_channels_last(module: nn.Module) -> bool:
    """True if a network can be laid out in channels_last.

    False for weights of five dimensions (videos, volumes: torch refuses them) and for scripted modules, whose code may
    count on the order that they were traced with.
    """
    tensors = [*module.parameters(), *module.buffers()]
    return not isinstance(module, torch.jit.ScriptModule) and all(tensor.dim() < 5 for tensor in tensors)

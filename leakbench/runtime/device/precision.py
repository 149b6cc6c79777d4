"""At which precision, and in which memory order, networks run.

bf16 for training and sampling on CUDA; float32 for scores, which are differences of near-equal numbers, and everywhere
on the CPU, where bf16 is slower on most machines. channels_last on CUDA, where convolutions of images run faster in it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def autocast(device: torch.device, cached: bool = True) -> AbstractContextManager[object]:
    """bf16 on CUDA for training and sampling; float32 on CPU.

    `cached`: whether weights are cast once. Not where they change, or are asked without gradients first, on the way.
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
    """Whether a network, of whoever's making, can be laid out so: not one with weights of five dimensions (videos,
    volumes: torch refuses them) nor a scripted one, whose code may count on the order that it was traced with."""
    tensors = [*module.parameters(), *module.buffers()]
    return not isinstance(module, torch.jit.ScriptModule) and all(tensor.dim() < 5 for tensor in tensors)

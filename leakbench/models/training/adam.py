"""Adam without torch's compiler, whose import takes a process as long as that of the rest of torch."""

from __future__ import annotations

import inspect

import torch


class Adam(torch.optim.Adam):
    """torch.optim.Adam, to the bit. torch wraps these methods to tell its compiler to leave them alone, and imports it
    for that, asked or not. No optimiser is compiled here: the methods are called as they are."""

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))  # its wrapper switches gradients off as well

"""The state of a training on disk: weights, their averages, Adam's moments, and the number of steps done."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def save(
    path: Path, done: int, parameters: list[nn.Parameter], averaged: list[Tensor], optimizer: torch.optim.Optimizer
) -> None:
    """Write the state under a temporary name, then rename: a kill leaves the old checkpoint or the new one."""
    state = {"done": torch.tensor(done)}
    for i, (parameter, average) in enumerate(zip(parameters, averaged, strict=True)):
        state[f"parameter.{i}"], state[f"average.{i}"] = parameter.detach(), average
        state |= {f"{key}.{i}": value for key, value in optimizer.state[parameter].items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        save_file({key: value.contiguous() for key, value in state.items()}, temporary)
        temporary.replace(path)
    except (OSError, SafetensorError):
        # Another run that finished the same training takes the folder away: what then cannot be saved is not missed.
        if path.parent.exists():
            raise


def resume(
    path: Path | None, parameters: list[nn.Parameter], averaged: list[Tensor], optimizer: torch.optim.Optimizer
) -> int:
    """Load the state if there is one that can be read. Returns the number of steps already done."""
    if path is None or not path.exists():
        return 0
    kinds = ("parameter", "average", "step", "exp_avg", "exp_avg_sq")
    try:
        state = load_file(path, device=str(parameters[0].device))
        rows = [[state[f"{kind}.{i}"] for kind in kinds] for i in range(len(parameters))]
    except Exception:  # a checkpoint cut short by a full disk: start again, nothing finished is lost
        path.unlink()
        return 0
    with torch.no_grad():
        for parameter, average, (ours, mean, step, *moments) in zip(parameters, averaged, rows, strict=True):
            parameter.copy_(ours)
            average.copy_(mean)
            # Adam's fused kernel wants its moments laid out as the parameter is (channels_last on CUDA).
            first, second = (torch.empty_like(parameter).copy_(moment) for moment in moments)
            optimizer.state[parameter] = {"step": step, "exp_avg": first, "exp_avg_sq": second}
    return int(state["done"])

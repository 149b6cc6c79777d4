"""The state of a training on disk: weights, their averages, Adam's moments, and the number of steps done.

A checkpoint holds a hash of its tensors: one that a disk has damaged is not gone on from.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from leakbench.runtime import distributed


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
        state = {key: value.contiguous() for key, value in state.items()}
        save_file(state, temporary, {"sha256": _hash(state)})
        temporary.replace(path)
    except (OSError, SafetensorError):
        # Another run that finished the same training takes the folder away: what then cannot be saved is not missed.
        if path.parent.exists():
            raise


def resume(
    path: Path | None, parameters: list[nn.Parameter], averaged: list[Tensor], optimizer: torch.optim.Optimizer
) -> int:
    """Load the checkpoint on rank 0, if there is a readable one, and copy its state to every rank.

    Returns the number of steps already done: the same on every rank, whatever the others find at `path`.
    """
    done = distributed.broadcast(lambda: _load(path, parameters, averaged, optimizer))
    if done:
        for parameter in parameters:  # rank 0 has this state already
            optimizer.state[parameter] = optimizer.state[parameter] or _empty_state(parameter)
        moments = [tensor for parameter in parameters for tensor in optimizer.state[parameter].values()]
        with torch.no_grad():
            distributed.broadcast_tensors([*(p.data for p in parameters), *averaged, *moments])
    return done


def _load(
    path: Path | None, parameters: list[nn.Parameter], averaged: list[Tensor], optimizer: torch.optim.Optimizer
) -> int:
    """Load a checkpoint into this process's tensors. Returns the number of steps done, 0 where there is none."""
    if path is None or not path.exists():
        return 0
    kinds = ("parameter", "average", "step", "exp_avg", "exp_avg_sq")
    try:
        state = load_file(path, device=str(parameters[0].device))
        rows = [[state[f"{kind}.{i}"] for kind in kinds] for i in range(len(parameters))]
        with safe_open(path, "pt") as opened:
            if opened.metadata()["sha256"] != _hash(state):
                raise ValueError("its hash differs")
    except Exception:  # a checkpoint cut short by a full disk: start again, nothing finished is lost
        print(f"leakbench: damaged checkpoint {path}; the training begins again", file=sys.stderr)
        path.unlink(missing_ok=True)
        return 0
    with torch.no_grad():
        for parameter, average, (ours, mean, step, *moments) in zip(parameters, averaged, rows, strict=True):
            parameter.copy_(ours)
            average.copy_(mean)
            optimizer.state[parameter] = _empty_state(parameter) | {"step": step}
            optimizer.state[parameter]["exp_avg"].copy_(moments[0])
            optimizer.state[parameter]["exp_avg_sq"].copy_(moments[1])
    return int(state["done"])


def _hash(state: dict[str, Tensor]) -> str:
    """sha256 of tensors and their names."""
    found = hashlib.sha256()
    for key in sorted(state):
        found.update(key.encode())
        found.update(state[key].cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _empty_state(parameter: nn.Parameter) -> dict[str, Tensor]:
    """Adam's state of a parameter. The fused kernel wants its moments laid out as the parameter is (channels_last)."""
    step = torch.zeros((), dtype=torch.float32, device=parameter.device)
    return {"step": step, "exp_avg": torch.empty_like(parameter), "exp_avg_sq": torch.empty_like(parameter)}

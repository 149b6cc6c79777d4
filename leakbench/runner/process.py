"""Settings of a process that computes, and where a run computes: its device and how many workers.

Entry points call `start_process` once, before they prepare a run; nothing else joins a process group or changes what
torch does in the whole process.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

import torch

from leakbench.runtime import distributed
from leakbench.runtime.cores import cores
from leakbench.runtime.device import devices, prepare, resolve_device
from leakbench.runtime.errors import UsageError

ExecutorName = Literal["local", "ray"]


@dataclass(frozen=True)
class Placement:
    """Device of a run ("cpu", "cuda", "cuda:1"), and the number of cells that it does at once."""

    device: str
    workers: int


def start_process(device: str, executor: ExecutorName = "local") -> str:
    """Join torchrun's group if it started one, and set threads and determinism for this process's device.

    Returns the name of that device. With Ray the nodes compute, each with settings of its own: the name is returned as
    it is. Raises UsageError when CUDA is asked for and absent.
    """
    if executor == "ray":
        return device
    own = distributed.init_process_group(resolve_device(device))
    prepare(torch.device(own))
    return own


def place_run(device: str, workers: int | None, executor: ExecutorName) -> Placement:
    """The placement of a run. `device`: as `start_process` returned it; `workers`: None for as many as there are cores,
    or devices. Raises UsageError."""
    return _place_on_ray(device, workers) if executor == "ray" else _place_here(device, workers)


def _place_here(device: str, workers: int | None) -> Placement:
    if distributed.world_size() > 1:  # each of torchrun's processes is its own worker
        return Placement(device, 1)
    return Placement(device, workers or (cores() if device == "cpu" else len(devices("cuda"))))


def _place_on_ray(device: str, workers: int | None) -> Placement:
    """The device kind, which this machine itself need not have, and how many tasks the cluster can now run at once."""
    from leakbench.runner.executors.ray import resources

    if workers is not None:
        raise UsageError(f"--workers {workers}: is for --executor local; a Ray cluster knows its own cores and GPUs")
    cpus, gpus = resources()
    kind = ("cuda" if gpus else "cpu") if device == "auto" else device
    if kind == "cuda" and not gpus:
        print("leakbench: no node of the Ray cluster has a GPU yet: waiting for one", file=sys.stderr)
    return Placement(kind, max(1, gpus if kind == "cuda" else cpus))


def check_measurable(device: str) -> None:
    """Raise UsageError where times cannot be measured: a run on a cluster may have a GPU that this machine has not."""
    if device == "cuda" and resolve_device("auto") == "cpu":
        raise UsageError("no CUDA device here to measure on: use --plan and --budget on a machine that has one")

"""How long and how large a plan will be: a few timed network calls on this machine, times the calls that are left."""

from __future__ import annotations

import math
import time

import torch

from leakbench import networks
from leakbench.plan import Cell
from leakbench.workbench import Workbench

_STARTING = 10.0  # seconds until a worker has imported torch and loaded the data
_AUDITING = 2.0  # seconds of an audit beside sampling: attacks, distances, records
_RECORDS = 20_000  # bytes of a release's records and arrays, at the least


def seconds_of(bench: Workbench, cells: list[Cell]) -> float:
    """Seconds of work in all cells on one worker. Sampling-time guidance is not foreseen."""
    if not cells:
        return 0.0
    forward = _forward_seconds(bench)
    total = _STARTING
    for cell in cells:
        if cell.kind == "fit":
            total += cell.chain[-1].defense.work() * len(cell.needs) * forward
        elif cell.kind == "audit":
            total += _AUDITING + bench.suite.file.quality.samples * bench.schedule.steps * forward
    return total


def bytes_of(bench: Workbench, cells: list[Cell]) -> float:
    """Bytes that the cells will write: weights, samples, records."""
    pixels = math.prod(bench.data.shape)
    weights = 4 * sum(
        p.numel() for p in networks.build(bench.network("none"), bench.streams(0).of("estimate")).parameters()
    )
    fits, audits = sum(len(cell.needs) for cell in cells), sum(cell.kind == "audit" for cell in cells)
    return float(fits * weights + audits * (_RECORDS + 4 * pixels * bench.suite.file.quality.samples))


def _forward_seconds(bench: Workbench) -> float:
    """Seconds a network call takes for one image of a compute batch."""
    spec = bench.network("none")
    network = networks.build(spec, bench.streams(0).of("estimate")).to(bench.device).eval()
    size = min(bench.suite.file.sampler.batch, 64)
    x = torch.zeros(size, *spec.shape, device=bench.device)
    t = torch.zeros(size, dtype=torch.int64, device=bench.device)
    label = t if spec.conditions else None
    best = math.inf
    with torch.no_grad():
        for _ in range(5):
            began = time.perf_counter()
            network(x, t, label).sum().item()
            best = min(best, time.perf_counter() - began)
    return best / size

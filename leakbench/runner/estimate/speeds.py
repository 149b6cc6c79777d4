"""Speeds of this machine's devices: seconds of a network's call, as runs measured them, kept in the cache folder.

A speed of numpy's matrix product stands in where no run has measured any. Neither imports torch.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.files import write_atomically

_SIDE = 512
_WATCHED = 0.4  # seconds
_SHARE = 1.15  # operations a second of a network over those of numpy's product, on the CPUs that we timed
_NEAR = math.log(30)  # a speed serves networks of up to so many times the work, or as little


class Speed(NamedTuple):
    """Seconds of an operation (leakbench.models.work.Work.effective), and where the number comes from."""

    seconds: float
    source: str


def _file() -> Path:
    return cache_root() / "speeds.json"


def keep_speed(device: str, work: float, seconds: float) -> None:
    """Keep how long a call of so much work took for one image; the last one for networks of about this size counts."""
    kept = _read()
    size = f"{math.log2(work):.0f}"
    kept.setdefault(device, {})[size] = [work, seconds, time.strftime("%Y-%m-%d", time.gmtime())]
    _file().parent.mkdir(parents=True, exist_ok=True)
    write_atomically(_file(), (json.dumps(kept, indent=1) + "\n").encode())


def _read() -> dict[str, dict[str, list[object]]]:
    try:
        found = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def find_speed(device: str, work: float) -> Speed | None:
    """The speed that a run measured of the network nearest in work; None where none is near."""
    try:
        known = [(float(w), float(s), str(day)) for w, s, day in _read().get(device, {}).values()]  # type: ignore[arg-type]
        found = min(known, key=lambda one: abs(math.log(one[0] / work)), default=None)
    except (TypeError, ValueError, AttributeError, ZeroDivisionError):
        return None
    if found is None or abs(math.log(found[0] / work)) > _NEAR:
        return None
    return Speed(found[1] / found[0], f"by the speed of a run here on {found[2]}")


def measure_numpy() -> Speed:
    """The speed of a matrix product on one core: the best of eight, a few milliseconds each."""
    matrix = np.ones((_SIDE, _SIDE), dtype=np.float32)
    best = math.inf
    for _ in range(8):
        began = time.perf_counter()
        _ = matrix @ matrix
        best = min(best, time.perf_counter() - began)
    return Speed(best / (2 * _SIDE**3 * _SHARE), "by the speed of numpy's matrix product")


def measure_load() -> float:
    """Seconds that pass while this process gets one second of a core: 1 on an idle machine."""
    matrix = np.ones((_SIDE, _SIDE), dtype=np.float32)
    began, own = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < _WATCHED:
        _ = matrix @ matrix
    return (time.perf_counter() - began) / max(time.process_time() - own, 1e-3)

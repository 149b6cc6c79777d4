"""Cores of the machine."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores that this process may use: fewer than the machine has in a container or under a batch scheduler."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""How work was computed where that moves its numbers within tolerance: in smaller batches than asked for, compiled.

What is trained or sampled keeps these facts beside it, and records repeat them: two runs that differ in them say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from leakbench.runtime import distributed
from leakbench.runtime.device.batching import record_batch_reductions
from leakbench.runtime.device.compile import record_compiled

EXECUTION_KEYS = ("smaller_batches", "compiled")
Manner = dict[str, Any]  # JSON-able: {"smaller_batches": {work: rows}, "compiled": [work, ...]}, less what is empty


@contextmanager
def record_execution() -> Iterator[Callable[[], Manner]]:
    """Inside, the manner of all work is observed; asked for it, in all processes of a group, it is that so far."""
    with record_batch_reductions() as smaller, record_compiled() as compiled:
        yield lambda: merge_execution_notes(
            {"smaller_batches": distributed.all_reduce_min(smaller), "compiled": compiled}
        )


def merge_execution_notes(*found: Mapping[str, Any]) -> Manner:
    """The manners among some facts as one: the smallest of a work's batches, and all that was compiled."""
    smaller: dict[str, int] = {}
    for facts in found:
        for work, rows in facts.get("smaller_batches", {}).items():
            smaller[work] = min(rows, smaller.get(work, rows))
    compiled = sorted({work for facts in found for work in facts.get("compiled", ())})
    return ({"smaller_batches": smaller} if smaller else {}) | ({"compiled": compiled} if compiled else {})

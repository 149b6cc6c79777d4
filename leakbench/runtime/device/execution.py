"""Notes about execution that moves numbers within tolerance: smaller batches than asked for, compiled networks.

They are kept with what was trained or sampled, and records repeat them, so two runs that differ in them say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from leakbench.runtime import distributed
from leakbench.runtime.device.batching import record_batch_reductions
from leakbench.runtime.device.compile import record_compiled

EXECUTION_KEYS = ("smaller_batches", "compiled")
ExecutionNotes = dict[
    str, Any
]  # JSON-able: {"smaller_batches": {work: rows}, "compiled": [work, ...]}, less what is empty


@contextmanager
def record_execution() -> Iterator[Callable[[], ExecutionNotes]]:
    """Record how work inside is executed. Call what is yielded, on every rank, for the notes so far."""
    with record_batch_reductions() as smaller, record_compiled() as compiled:
        yield lambda: merge_execution_notes(
            {"smaller_batches": distributed.all_reduce_min(smaller), "compiled": compiled}
        )


def merge_execution_notes(*found: Mapping[str, Any]) -> ExecutionNotes:
    """Merge the execution notes among some facts: the smallest batch of each work, and all that was compiled."""
    smaller: dict[str, int] = {}
    for facts in found:
        for work, rows in facts.get("smaller_batches", {}).items():
            smaller[work] = min(rows, smaller.get(work, rows))
    compiled = sorted({work for facts in found for work in facts.get("compiled", ())})
    return ({"smaller_batches": smaller} if smaller else {}) | ({"compiled": compiled} if compiled else {})

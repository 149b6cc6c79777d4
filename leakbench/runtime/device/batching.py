"""Compute batches: always full and of one size, smaller only where memory runs out.

Batches of a fixed size make results bitwise equal however many rows are computed. Where a CUDA device runs out of
memory the batch is halved until it fits, and later work of the same name in this process starts at the size that
fitted. Results then agree within the device's tolerance, no longer bitwise, so a record says so
(`record_batch_reductions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

Answer = TypeVar("Answer")

_FITTED: dict[AdaptiveBatch, int] = {}
_NOTES: list[dict[str, int]] = []


@dataclass(frozen=True)
class AdaptiveBatch:
    """Number of rows of one kind of `work` that fit on a device at a time, at most `asked`."""

    work: str
    device: torch.device
    asked: int

    @property
    def rows(self) -> int:
        """Number of rows that fitted the last time."""
        return _FITTED.get(self, self.asked)

    def run(self, work: Callable[[int], Answer]) -> Answer:
        """Call work(rows), with half the rows each time memory runs out. Raises torch.cuda.OutOfMemoryError at 1."""
        while True:
            rows = self.rows
            try:
                answer = work(rows)
            except torch.cuda.OutOfMemoryError:
                if rows == 1:
                    raise
            else:
                self._note(rows)
                return answer
            # Outside the `except`, whose traceback keeps alive all that the failed call had allocated.
            _FITTED[self] = (rows + 1) // 2
            torch.cuda.empty_cache()

    def _note(self, rows: int) -> None:
        if rows < self.asked:
            for note in _NOTES:
                note[self.work] = rows


@contextmanager
def record_batch_reductions() -> Iterator[dict[str, int]]:
    """Record the work that runs in smaller batches than asked for inside: {work: rows}."""
    note: dict[str, int] = {}
    _NOTES.append(note)
    try:
        yield note
    finally:
        _NOTES[:] = [other for other in _NOTES if other is not note]


def padded(count: int, size: int) -> Iterator[tuple[slice, int]]:
    """Slices of a fixed compute batch. Yields (slice, rows to pad): the last batch is short by that many rows."""
    for start in range(0, count, size):
        stop = min(start + size, count)
        yield slice(start, stop), size - (stop - start)


def in_batches(function: Callable[..., Tensor], *tensors: Any, size: int, work: str = "") -> Tensor:
    """Apply a function to equally long tensors, or ImageViews, in batches of exactly `size` rows.

    The last batch is padded by its first row. `work` names the work for AdaptiveBatch; by default it is the function's
    name and the rows' shape.
    """
    name = work or f"{getattr(function, '__qualname__', type(function).__qualname__)} {[*tensors[0].shape[1:]]}"
    batch, outputs, start = AdaptiveBatch(name, tensors[0].device, size), list[Tensor](), 0
    while start < len(tensors[0]):
        outputs.append(batch.run(partial(_apply, function, tensors, start)))
        start += len(outputs[-1])
    return torch.cat(outputs)


def _apply(function: Callable[..., Tensor], tensors: Sequence[Any], start: int, size: int) -> Tensor:
    """Apply the function to `size` rows from `start`, padded where fewer are left."""
    rows = [tensor[start : start + size] for tensor in tensors]
    short = size - len(rows[0])
    full = [torch.cat([r, r[:1].expand(short, *r.shape[1:])]) if short else r for r in rows]
    return function(*full)[: size - short]

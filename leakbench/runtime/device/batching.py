"""Compute batches: always full, always of one size; smaller ones where memory runs out, and that is remembered.

A fixed batch is what makes results equal bit for bit however many rows are asked for. Where a CUDA device runs out of
memory the batch is halved until it fits, and what fitted is where the same work begins the next time in this process.
Results then agree within the device's tolerance, no longer bit for bit, so a record says so
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
    """How many rows of one kind of `work` fit on a device at a time, of as many as were `asked` for."""

    work: str
    device: torch.device
    asked: int

    @property
    def rows(self) -> int:
        """What fitted the last time."""
        return _FITTED.get(self, self.asked)

    def run(self, work: Callable[[int], Answer]) -> Answer:
        """work(rows) with ever fewer rows, as long as memory runs out. Raises torch.cuda.OutOfMemoryError at one."""
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
            # Out of the `except`, whose traceback keeps alive all that the attempt had allocated.
            _FITTED[self] = (rows + 1) // 2
            torch.cuda.empty_cache()

    def _note(self, rows: int) -> None:
        if rows < self.asked:
            for note in _NOTES:
                note[self.work] = rows


@contextmanager
def record_batch_reductions() -> Iterator[dict[str, int]]:
    """Inside, what runs in smaller batches than asked for is noted: {work: rows}."""
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
    """Apply a function of equally long tensors, or Pictures, in batches of exactly `size` rows, the last padded by its
    first row.

    `work` names what is done, for what is remembered of it; by default the function's name and the rows' shapes.
    """
    name = work or f"{getattr(function, '__qualname__', type(function).__qualname__)} {[*tensors[0].shape[1:]]}"
    room, outputs, start = AdaptiveBatch(name, tensors[0].device, size), list[Tensor](), 0
    while start < len(tensors[0]):
        outputs.append(room.run(partial(_batch, function, tensors, start)))
        start += len(outputs[-1])
    return torch.cat(outputs)


def _batch(function: Callable[..., Tensor], tensors: Sequence[Any], start: int, size: int) -> Tensor:
    """The function of `size` rows from `start`, or of as many as are left."""
    rows = [tensor[start : start + size] for tensor in tensors]
    short = size - len(rows[0])
    full = [torch.cat([r, r[:1].expand(short, *r.shape[1:])]) if short else r for r in rows]
    return function(*full)[: size - short]

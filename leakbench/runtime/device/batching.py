"""Compute batches: always full and of few fixed sizes (leakbench.runtime.batch_sizes), smaller where memory runs out.

Where a CUDA device runs out of memory the full batch is halved until it fits, and later work of the same name in this
process starts at the size that fitted. Results then agree within the device's tolerance, no longer bitwise, so a record
says so (`record_batch_reductions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from leakbench.runtime.batch_sizes import next_size

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


def in_batches(function: Callable[..., Tensor], *tensors: Any, size: int, work: str = "") -> Tensor:
    """Apply a function to equally long tensors, or ImageViews, in batches of `size` rows; the rest in smaller ones of
    fixed sizes.

    A short batch is padded by its first row. `work` names the work for AdaptiveBatch; by default it is the function's
    name and the rows' shape.
    """
    name = work or f"{getattr(function, '__qualname__', type(function).__qualname__)} {[*tensors[0].shape[1:]]}"
    batch, outputs, start = AdaptiveBatch(name, tensors[0].device, size), list[Tensor](), 0
    while start < len(tensors[0]):
        outputs.append(batch.run(partial(_apply, function, tensors, start)))
        start += len(outputs[-1])
    return torch.cat(outputs)


def _apply(function: Callable[..., Tensor], tensors: Sequence[Any], start: int, full: int) -> Tensor:
    """Apply the function to the next batch from `start`, padded where fewer rows are left."""
    size = next_size(len(tensors[0]) - start, full)
    rows = [tensor[start : start + size] for tensor in tensors]
    short = size - len(rows[0])
    padded = [torch.cat([r, r[:1].expand(short, *r.shape[1:])]) if short else r for r in rows]
    return function(*padded)[: size - short]

"""Batches fetched by a thread while the device computes.

A training loop knows the numbers of the next steps' images before it takes the first of them: they depend on the step
alone. The thread reads them in that order into pinned memory and starts their copies on a CUDA stream of its own, so
that neither the disk nor the bus is waited for. A batch that was not scheduled is fetched when it is asked for;
scheduled ones are dropped once a later one was asked for, or at the next schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import torch
from torch import Tensor

_Fetched = tuple[Tensor, "torch.cuda.Event | None"]


class Prefetcher:
    """Fetches scheduled batches. `read(index)` gives the bytes of the images of these numbers; both are on the CPU."""

    def __init__(self, read: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self._read, self._device = read, device
        self._scheduled: list[tuple[Tensor, Future[_Fetched]]] = []

    def schedule(self, indices: Sequence[Tensor]) -> None:
        """Fetch these (each 1-D), in this order; drop what is left of those scheduled before."""
        self._forget(len(self._scheduled))
        # One copy to the host for all: a copy a batch would make the device wait as often.
        numbers = torch.cat(list(indices)).cpu().split([len(index) for index in indices])
        self._scheduled = [
            (index, self._thread.submit(self._fetch, rows)) for index, rows in zip(indices, numbers, strict=True)
        ]

    def get(self, index: Tensor) -> Tensor | None:
        """The bytes for a scheduled index, or for a piece of one, on the device; None for any other."""
        for number, (scheduled, future) in enumerate(self._scheduled):
            first = _place(index, scheduled)
            if first is None:
                continue
            self._forget(number)
            pixels, copied = future.result()
            if copied is not None:
                stream = torch.cuda.current_stream(self._device)
                stream.wait_event(copied)
                pixels.record_stream(stream)  # or its memory would be given to the next batch's copy too early
            return pixels[first : first + len(index)]
        return None

    def _forget(self, count: int) -> None:
        for _, future in self._scheduled[:count]:
            future.cancel()
        del self._scheduled[:count]

    def _fetch(self, rows: Tensor) -> _Fetched:
        pixels = self._read(rows)
        if self._device.type != "cuda":
            return pixels, None
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            there = pixels.pin_memory().to(self._device, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record(self._stream)
        return there, copied

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="prefetch")

    @cached_property
    def _stream(self) -> torch.cuda.Stream:
        return torch.cuda.Stream(self._device)


def _place(index: Tensor, scheduled: Tensor) -> int | None:
    """Offset of a tensor within a scheduled one that it is a piece of, by their place in memory, which is kept while it
    is scheduled; None if it is none."""
    if index.dtype != scheduled.dtype or not (index.is_contiguous() and scheduled.is_contiguous()):
        return None
    first = (index.data_ptr() - scheduled.data_ptr()) // index.element_size()
    inside = index.dim() == 1 and first >= 0 and first + len(index) <= len(scheduled)
    return first if inside and len(index) else None

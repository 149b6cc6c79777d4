"""Several processes that do one run together, one a GPU, as torchrun or accelerate start them.

Every process walks through the whole run in step with the others. The heavy parts are shared out: sampling and scoring
by whole compute batches, training (where a defense leaves its gradient to leakbench.models.training.loop) by rows of
every step's batch. All else each does for itself, alike. The first process decides what is in the cache, and it alone
writes.

A compute batch is what one process alone would have computed, so samples and scores are equal bit for bit however many
processes there are. A gradient is a sum over rows in another order: trained weights agree within rounding.

Without torchrun there is a group of one, and nothing here does anything; torch is not even imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Made = TypeVar("Made")

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # torchrun's, and accelerate's
_PATIENCE = timedelta(days=7)  # the others wait for the first process, whatever it does


@dataclass
class _Group:
    rank: int = 0
    size: int = 1
    apart: bool = False
    training: bool = False


_group = _Group()


def join(kind: str) -> str:
    """Join the group that torchrun started, if it did. Returns the name of this process's device of a kind."""
    if not all(name in os.environ for name in _VARIABLES) or int(os.environ["WORLD_SIZE"]) == 1:
        return kind
    import torch

    device = f"cuda:{os.environ['LOCAL_RANK']}" if kind == "cuda" else kind
    if kind == "cuda":
        torch.cuda.set_device(device)
    if not torch.distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, timeout=_PATIENCE)
    _group.rank, _group.size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    return device


def leave() -> None:
    """Part with the others, at the end of the run."""
    if _group.size > 1:
        import torch

        torch.distributed.destroy_process_group()
        _group.size = 1


def size() -> int:
    """How many processes share the work at hand: 1 also inside `alone()`."""
    return 1 if _group.apart else _group.size


def leads() -> bool:
    """Whether this process is the one that writes and prints."""
    return _group.rank == 0


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this process computes its own share, and waits for nobody."""
    before, _group.apart = _group.apart, True
    try:
        yield
    finally:
        _group.apart = before


@contextmanager
def training() -> Iterator[None]:
    """Inside, training steps are shared out. What attacks train for themselves is too small to gain by it."""
    before, _group.training = _group.training, True
    try:
        yield
    finally:
        _group.training = before


def trains() -> bool:
    """Whether a training step is to be shared out."""
    return _group.training and size() > 1


def first(make: Callable[[], Made]) -> Made:
    """What the first process makes by itself, handed to all; its error is raised in all. It has to be picklable."""
    if size() == 1:
        return make()
    import torch

    box: list[tuple[Made | None, Exception | None]] = [(None, None)]
    if leads():
        try:
            with alone():  # the others wait for this and for nothing else
                box = [(make(), None)]
        except Exception as error:
            box = [(None, error)]
    torch.distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    made, wrong = box[0]
    if wrong is not None:
        raise wrong
    return made  # type: ignore[return-value]


def together() -> None:
    """Wait until every process has come this far."""
    if size() > 1:
        import torch

        torch.distributed.all_reduce(torch.zeros(1))


def share(count: int, unit: int) -> slice:
    """This process's rows of `count`: whole units, as many for each as there are, the last ones' fewer or none."""
    each = _each(count, unit)
    start = min(count, (0 if _group.apart else _group.rank) * each)
    return slice(start, min(count, start + each))


def gather(mine: Tensor | None, count: int, unit: int) -> Tensor:
    """All rows (count, ...) from every process's `share` of them, on their device. None: this one's is empty."""
    if size() == 1:
        assert mine is not None
        return mine
    import torch

    shape, dtype, kind = first(lambda: (mine.shape[1:], mine.dtype, mine.device.type))  # type: ignore[union-attr]
    padded = torch.zeros(_each(count, unit), *shape, dtype=dtype, device=kind)
    if mine is not None:
        padded[: len(mine)] = mine
    found = [torch.empty_like(padded) for _ in range(size())]
    torch.distributed.all_gather(found, padded)
    return torch.cat(found)[:count]


def _each(count: int, unit: int) -> int:
    """Rows of a process, unless it is one of the last."""
    return ceil(ceil(count / unit) / size()) * unit


def joined(found: dict[str, int]) -> dict[str, int]:
    """The entries of all processes, the smaller number where two have the same key."""
    everybodys = [found] * size()
    if size() > 1:
        import torch

        torch.distributed.all_gather_object(everybodys, found)
    keys = sorted({key for one in everybodys for key in one})
    return {key: min(one[key] for one in everybodys if key in one) for key in keys}


def total(values: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if size() > 1:
        import torch

        torch.distributed.all_reduce(values)
    return values

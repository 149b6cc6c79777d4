"""Thin layer over torch.distributed for runs of several processes, one a GPU, started by torchrun or accelerate.

Every process (rank) walks through the whole run in step with the others. Heavy work is split among the ranks: sampling
and scoring by whole compute batches; training, where a defense leaves its gradient to leakbench.models.training.loop,
by rows of every step's batch. Everything else is computed by each rank for itself, alike. Rank 0 decides what is in the
artefact cache, and it alone writes.

A compute batch is what one process alone would have computed, so samples and scores are bitwise equal whatever the
world size. A gradient is a sum over rows in another order, so trained weights agree within rounding.

Without torchrun the world size is 1, every function here returns at once, and torch is not even imported.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, TypeVar

from leakbench.runtime.errors import in_a_line

if TYPE_CHECKING:
    from torch import Tensor

Result = TypeVar("Result")

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # torchrun's, and accelerate's
# The other ranks wait while rank 0 evaluates or another run holds a lock: hours. A lost rank must not cost a week.
_TIMEOUT = timedelta(hours=6)


class RankError(Exception):
    """An error on rank 0 that cannot be sent to the other ranks as it is; the message is its text."""


@dataclass
class _Group:
    rank: int = 0
    world_size: int = 1
    single: bool = False
    data_parallel: bool = False


_group = _Group()


def init_process_group(kind: str) -> str:
    """Join the process group if torchrun started this process. Return the name of its device of a kind (cpu, cuda)."""
    if not all(name in os.environ for name in _VARIABLES) or int(os.environ["WORLD_SIZE"]) == 1:
        return kind
    import torch

    device = f"cuda:{os.environ['LOCAL_RANK']}" if kind == "cuda" else kind
    if kind == "cuda":
        torch.cuda.set_device(device)
    if not torch.distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, timeout=_TIMEOUT)
    _group.rank, _group.world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    return device


def destroy_process_group() -> None:
    """Leave the process group, at the end of the run: all ranks together, since gloo's threads abort a process whose
    peers leave while it still listens to them."""
    if _group.world_size > 1:
        import torch

        with suppress(RuntimeError):  # a rank that has died does not come
            barrier()
        torch.distributed.destroy_process_group()
        _group.world_size = 1


def world_size() -> int:
    """Number of processes that share the work at hand; 1 inside `single_process()`."""
    return 1 if _group.single else _group.world_size


def rank() -> int:
    """Number of this process in the group; rank 0 writes and prints. 0 inside `single_process()`."""
    return 0 if _group.single else _group.rank


@contextmanager
def single_process() -> Iterator[None]:
    """Compute by itself inside, as if the world size were 1, and wait for no other rank."""
    before, _group.single = _group.single, True
    try:
        yield
    finally:
        _group.single = before


@contextmanager
def data_parallel() -> Iterator[None]:
    """Split training steps among the ranks inside. Not for what attacks train: that is too small to gain."""
    before, _group.data_parallel = _group.data_parallel, True
    try:
        yield
    finally:
        _group.data_parallel = before


def is_data_parallel() -> bool:
    """True if training steps are to be split among several ranks."""
    return _group.data_parallel and world_size() > 1


def broadcast(make: Callable[[], Result]) -> Result:
    """Call `make` on rank 0 alone and return its result, which has to be picklable, on every rank.

    An error of `make` is raised on every rank; where it cannot be pickled, as RankError on the ranks that lack it.
    """
    if world_size() == 1:
        return make()
    import torch

    payload: list[bytes | None] = [None]
    made, error = None, None
    if rank() == 0:
        try:
            with single_process():  # the others wait for this and for nothing else
                made = make()
            payload = [pickle.dumps((made, None))]
        except Exception as caught:
            error = caught
            payload = [_pickled_error(caught)]
    torch.distributed.broadcast_object_list(payload, src=0, device=torch.device("cpu"))
    if rank() != 0:
        assert payload[0] is not None
        made, error = pickle.loads(payload[0])
    if error is not None:
        raise error
    return made  # type: ignore[return-value]


def _pickled_error(error: Exception) -> bytes:
    """Pickle an error for the other ranks; as a RankError if it survives no round trip."""
    try:
        text = pickle.dumps((None, error))
        pickle.loads(text)
        return text
    except Exception:  # locks, sockets and arguments that are not in `args` fail in many ways
        return pickle.dumps((None, RankError(f"on rank 0: {in_a_line(error)}")))


def broadcast_tensors(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors, in place, by those of rank 0."""
    if world_size() > 1:
        import torch

        for tensor in tensors:
            torch.distributed.broadcast(tensor, src=0)


def barrier() -> None:
    """Wait until every rank has come this far."""
    if world_size() > 1:
        import torch

        torch.distributed.all_reduce(torch.zeros(1))  # torch's own barrier wants a device of its own


def shard(count: int, unit: int) -> slice:
    """Rows of `count` that this rank computes: whole units, equally many for each; the last ranks' fewer or none."""
    rows = _rows_per_rank(count, unit)
    start = min(count, rank() * rows)
    return slice(start, min(count, start + rows))


def all_gather(mine: Tensor | None, count: int, unit: int) -> Tensor:
    """Concatenate every rank's `shard` into all rows (count, ...), on the shards' device. `mine` is None if empty."""
    if world_size() == 1:
        assert mine is not None
        return mine
    import torch

    shape, dtype, kind = broadcast(lambda: (mine.shape[1:], mine.dtype, mine.device.type))  # type: ignore[union-attr]
    padded = torch.zeros(_rows_per_rank(count, unit), *shape, dtype=dtype, device=kind)
    if mine is not None:
        padded[: len(mine)] = mine
    shards = [torch.empty_like(padded) for _ in range(world_size())]
    torch.distributed.all_gather(shards, padded)
    return torch.cat(shards)[:count]


def _rows_per_rank(count: int, unit: int) -> int:
    """Rows of a rank, unless it is one of the last."""
    return ceil(ceil(count / unit) / world_size()) * unit


def all_reduce_min(numbers: dict[str, int]) -> dict[str, int]:
    """Merge the entries of all ranks; where several have a key, its smallest number."""
    gathered = [numbers] * world_size()
    if world_size() > 1:
        import torch

        torch.distributed.all_gather_object(gathered, numbers)
    keys = sorted({key for entries in gathered for key in entries})
    return {key: min(entries[key] for entries in gathered if key in entries) for key in keys}


def all_reduce(values: Tensor) -> Tensor:
    """Sum values over all ranks, in place."""
    if world_size() > 1:
        import torch

        torch.distributed.all_reduce(values)
    return values

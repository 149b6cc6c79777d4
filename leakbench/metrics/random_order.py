"""Rows in an order that tells nothing of them: whatever is cut to n rows, or into blocks, is cut along it.

Held-out images stand in the order of their data set, which may be sorted by class or by source: the first n would be
those of one class. The order follows from the number of rows alone, so that all releases of a run share it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from leakbench.runtime.device import Rng


def random_order(count: int) -> Tensor:
    """The numbers 0 to count - 1 (count,) in an order that follows from count, int64 on the CPU."""
    return Rng("", count).of("order of rows").uniform(torch.arange(count)).argsort(stable=True)


def cut_blocks(count: int, size: int, most: int) -> list[Tensor]:
    """Disjoint blocks (size,) of the numbers 0 to count - 1, up to `most`; in order where one block holds all."""
    order = torch.arange(count) if size == count else random_order(count)
    return [order[i * size : (i + 1) * size] for i in range(min(count // size, most))]


def pick(rows: Tensor, n: int) -> Tensor:
    """n of rows (N, ...) at random; all in their order where n is N."""
    (chosen,) = cut_blocks(len(rows), n, 1)
    return rows[chosen.to(rows.device)]

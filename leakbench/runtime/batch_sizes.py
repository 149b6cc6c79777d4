"""Sizes of compute batches: the full one and its halves, so that little work is not padded to a full batch.

Rows run in full batches as long as they fill one. What is left, rounded up to whole batches of the smallest size, runs
in the smallest size that holds it, if it fills more than three quarters of that; otherwise the next smaller size is
filled, and so on. Of 64 and the halves 32, 16 and 8, 31 rows take 32, 33 take 32 and 8, 50 take 64.

The sizes follow from the number of rows and the full size alone. The size that a row falls into is therefore the same
however many workers or processes share the work; it is not the same among more or fewer rows, so that an answer may
then differ in its last bits.
"""

from __future__ import annotations

from collections.abc import Iterator

_SMALLEST = 8  # a choice of ours: below, most of a CPU's time for a batch no longer falls with its rows


def fixed_sizes(full: int) -> list[int]:
    """All sizes of compute batches that work in batches of `full` rows may run in, largest first."""
    sizes = [full]
    while sizes[-1] // 2 >= _SMALLEST:
        sizes.append(sizes[-1] // 2)
    return sizes


def next_size(left: int, full: int) -> int:
    """Rows of the compute batch that the first of `left` rows run in, padded where fewer are left."""
    *larger, smallest = fixed_sizes(full)
    units = -(-left // smallest) * smallest
    return next((size for size in larger if left >= size or 4 * units > 3 * size), smallest)


def fixed_batches(count: int, full: int) -> Iterator[tuple[slice, int]]:
    """Compute batches of `count` rows in their order. Yields (slice of rows, rows to pad)."""
    start = 0
    while start < count:
        size = next_size(count - start, full)
        stop = min(start + size, count)
        yield slice(start, stop), size - (stop - start)
        start = stop


def filled_rows(count: int, full: int) -> int:
    """The number of rows that are computed for `count` rows, with those that pad them."""
    return sum(rows.stop - rows.start + short for rows, short in fixed_batches(count, full))

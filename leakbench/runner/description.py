"""Lines that describe a plan: its cells, their number, an estimate of time and disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from leakbench.runner.cell import Cell


def describe_cells(cells: list[Cell], workers: int, out: Path, empty: Sequence[str] = ()) -> Iterator[str]:
    """A line for each cell, one for each row that stays `empty`, in words, and one that counts the cells."""
    for number, cell in enumerate(cells, start=1):
        verb, rest = cell.columns
        yield f"{number:4}  {verb:<6}  {rest}"
    yield from (f"   -  empty   {words}" for words in empty)
    trained = sum(cell.trains for cell in cells)
    yield f"{len(cells)} cells ({trained} to train), {workers} workers, into {out}"


def describe_estimate(seconds: float, size: float, source: str = "") -> str:
    """Time and disk. `source`: where the estimate comes from, where that is to be said."""
    told = f" ({source})" if source else ""
    return f"about {max(seconds / 60, 0.1):.1f} minutes and {size / 2**20:.0f} MiB of disk on this machine{told}"

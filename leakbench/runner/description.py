"""Lines that describe a plan: its cells, their number, an estimate of time and disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from leakbench.runner.cell import Cell
from leakbench.runner.estimate.speeds import measure_load

_BUSY = 1.5  # seconds that pass for one of ours


def describe_cells(cells: list[Cell], workers: int, out: Path, empty: Sequence[str] = ()) -> Iterator[str]:
    """A line for each cell, one for each row that stays `empty`, in words, and one that counts the cells."""
    for number, cell in enumerate(cells, start=1):
        verb, rest = cell.columns
        yield f"{number:4}  {verb:<6}  {rest}"
    yield from (f"   -  empty   {words}" for words in empty)
    trained = sum(cell.trains for cell in cells)
    yield f"{len(cells)} cells ({trained} to train), {workers} workers, into {out}"


def describe_time(seconds: float) -> str:
    """Seconds in words: minutes, from three hours on hours, from three days on days."""
    hours = seconds / 3600
    if hours < 3:
        return f"{max(seconds / 60, 0.1):.1f} minutes"
    return f"{hours:.0f} hours" if hours < 72 else f"{hours / 24:.0f} days"


def describe_estimate(seconds: float, size: float, source: str) -> Iterator[str]:
    """Time and disk, and `source`: where the estimate comes from. A second line where other programs take the cores
    that the estimate counts on."""
    yield f"about {describe_time(seconds)} and {size / 2**20:.0f} MiB of disk on this machine ({source})"
    if measure_load() > _BUSY:
        yield "other programs keep this machine busy: as long as they do, it takes longer"

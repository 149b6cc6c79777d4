"""Lines that describe a plan: its cells, their number, an estimate of time and disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from leakbench.data.group_names import name_groups
from leakbench.data.split_groups import find_split_groups, list_units
from leakbench.measurement.inputs import RunInputs
from leakbench.runner.cell import Cell
from leakbench.runner.estimate.speeds import measure_load
from leakbench.runtime.errors import to_printable

_BUSY = 1.5  # seconds that pass for one of ours
_NAMED = 10  # groups
_ASKED = {
    "person": "people by the images that were drawn of them (were these used?)",
    "identity": "people by other images of them (was anything of theirs used?)",
}


def describe_cells(cells: list[Cell], workers: int, out: Path, empty: Sequence[str] = ()) -> Iterator[str]:
    """A line for each cell, one for each row that stays `empty`, in words, and one that counts the cells."""
    for number, cell in enumerate(cells, start=1):
        verb, rest = cell.columns
        yield f"{number:4}  {verb:<6}  {rest}"
    yield from (f"   -  empty   {words}" for words in empty)
    trained = sum(cell.trains for cell in cells)
    yield f"{len(cells)} cells ({trained} to train), {workers} workers, into {out}"


def describe_groups(inputs: RunInputs) -> Iterator[str]:
    """Lines that count groups, name those on both sides of the split, to whoever runs it (no result holds a name), and
    say whether people are asked about. Nothing without groups."""
    found = find_split_groups(inputs.split)
    if found is None:
        return
    yield "groups: " + ", ".join(f"{count} of {part}" for part, count in found.by_part.items())
    if len(found.shared):
        first = name_groups(found.shared[:_NAMED], inputs.data.group_names)
        more = ", ..." if len(found.shared) > _NAMED else ""
        yield (
            f"shared-groups: {len(found.shared)} of them are on both sides ({to_printable(', '.join(first))}{more}), "
            f"and {found.shared_nonmembers} nonmembers are theirs: images that were not used, of somebody of whom "
            "others were"
        )
    if people := [_ASKED[unit] for unit in list_units(inputs.split) if unit in _ASKED]:
        yield "each membership attack is asked about images, and about " + ", and about ".join(people)


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

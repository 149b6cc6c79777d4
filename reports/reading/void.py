"""Reasons for which the membership results of a run say nothing about a model: its track is void.

A track is a data set with its split. It is void where an attack that never sees the model tells members from nonmembers
(the split itself leaks), where half of the nonmembers or more overlap a member, mirrored, moved, cropped or relit (what
was trained on is compared with itself; the limit is a choice of ours), and where a negative control misbehaves (the
measurement leaks). All that compares images that
were trained on with images that were not rests on both; copies and distances do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.families import FAMILIES
from leakbench.results.flags import Flag
from leakbench.results.record import Record
from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder
from leakbench.results.split_overlap import COMPARED, OVERLAPPING

from .controls import invalidating_attacks, list_controls
from .formatting import join_words

_LIMIT = 0.5  # share of nonmembers


@dataclass(frozen=True)
class OverlapCount:
    """Number of nonmembers that overlap a member, and of those that were looked at."""

    count: int
    compared: int


def read_overlap(run: RunFolder) -> OverlapCount:
    """The counts in the plan of a run; zeros where nobody has looked."""
    found = (run.plan.split.get(name) for name in (OVERLAPPING, COMPARED))
    return OverlapCount(*(number if isinstance(number, int) else 0 for number in found))


@dataclass(frozen=True)
class VoidReason:
    """A flag for every row that rests on the split, and a sentence for people."""

    flag: Flag
    words: str


def list_void_reasons(run: RunFolder) -> tuple[VoidReason, ...]:
    """The reasons for which the track is void, read from the whole where `run` is a part; empty where it is sound."""
    return _find_reasons(run.whole)


@cache_on_run()
def _find_reasons(run: RunFolder) -> tuple[VoidReason, ...]:
    found = []
    if blind := invalidating_attacks(run):
        found.append(
            VoidReason(
                Flag.TRACK_INVALID,
                f"a classifier that never saw the model tells members from nonmembers ({join_words(blind)}): the split "
                "itself leaks",
            )
        )
    found += [
        VoidReason(
            Flag.OVERLAPPING_SIDES,
            f"{overlap.count} of {overlap.compared} nonmembers show what a member does, mirrored, moved, cropped or "
            "relit (overlap.csv): what was trained on is compared with itself",
        )
        for overlap in [read_overlap(run)]
        if overlap.count and overlap.count >= _LIMIT * overlap.compared
    ]
    if wrong := [control.what for control in list_controls(run) if not control.behaves]:
        found.append(
            VoidReason(
                Flag.CONTROL_MISBEHAVES,
                f"what cannot leak was seen to leak ({join_words(wrong)}): a control misbehaves",
            )
        )
    return tuple(found)


def void_flags(run: RunFolder, record: Record) -> set[str]:
    """The flags that a void track puts on a record."""
    return {reason.flag.value for reason in list_void_reasons(run)} if rests_on_split(record) else set()


def rests_on_split(record: Record) -> bool:
    """True if a record compares images that were trained on with images that were not."""
    return record.family in FAMILIES and FAMILIES[record.family].rests_on_split  # type: ignore[index]

"""The raw scores behind a record, with the sign that the calibration images asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import PairedDifference, delong_pair, oriented

if TYPE_CHECKING:
    import numpy as np

NAMES = ("member_scores", "nonmember_scores")
GROUPS = ("member_groups", "nonmember_groups")


def load_scores(run: RunFolder, record: Record) -> tuple[np.ndarray, np.ndarray] | None:
    """Load the scores of members and of nonmembers, finite; None where they were not kept."""
    return orient_scores(run.arrays(record, only=NAMES), record)


def load_groups(run: RunFolder, record: Record) -> tuple[np.ndarray, np.ndarray] | None:
    """Groups of the members and of the nonmembers; None where images do not come in groups."""
    return find_groups(run.arrays(record, only=GROUPS))


def orient_scores(arrays: dict[str, np.ndarray], record: Record) -> tuple[np.ndarray, np.ndarray] | None:
    """Scores of members and of nonmembers among the arrays of a record, finite; None where they were not kept."""
    if any(name not in arrays for name in NAMES):
        return None
    sign = float(record.info.get("orientation", 1.0))
    return oriented(arrays[NAMES[0]], sign), oriented(arrays[NAMES[1]], sign)


def find_groups(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Groups of members and of nonmembers among the arrays of a record; None where images do not come in groups."""
    return (arrays[GROUPS[0]], arrays[GROUPS[1]]) if all(name in arrays for name in GROUPS) else None


def compare_paired(run: RunFolder, first: Record, second: Record) -> PairedDifference | None:
    """AUC of `first` minus AUC of `second` by DeLong, as both scored the same images; None where scores lack."""
    arrays = run.arrays(first)
    one, other = orient_scores(arrays, first), load_scores(run, second)
    if one is None or other is None or [len(side) for side in one] != [len(side) for side in other]:
        return None
    return delong_pair(*one, *other, groups=find_groups(arrays))


def same_computation(first: Record, second: Record) -> bool:
    """True if two records hold one computation, written for two access levels or for two releases."""
    return first.metrics == second.metrics and first.arrays == second.arrays


def all_same_computation(records: Sequence[Record], others: Sequence[Record]) -> bool:
    """True if every one of some records is the computation of the other of its seed."""
    by_seed = {record.seed: record for record in others}
    return all(record.seed in by_seed and same_computation(record, by_seed[record.seed]) for record in records)

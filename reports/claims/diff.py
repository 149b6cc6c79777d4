"""Two runs compared: what moved beyond noise, and what changed in plan, data, versions and code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError

from ..reading.void import list_void_reasons
from .diff_missing import list_missing_records
from .diff_rows import DiffRow, list_rows
from .diff_setting import SettingChange, list_changes


@dataclass(frozen=True)
class RunDiff:
    """All rows that the old run has, and what changed apart from their numbers. void: sentences on void tracks.
    missing: the records that the plan of the new run asks for and that are not there. is_new_void: the new track is."""

    rows: tuple[DiffRow, ...]
    changes: tuple[SettingChange, ...]
    void: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    is_new_void: bool = False

    @property
    def moved(self) -> tuple[DiffRow, ...]:
        """The rows that moved beyond noise, worse ones first."""
        found = [row for row in self.rows if row.outcome in ("worse", "better")]
        return tuple(sorted(found, key=lambda row: row.outcome == "better"))

    @property
    def is_worse(self) -> bool:
        """True if a row moved to the worse: more leakage, or samples farther from real images."""
        return any(row.outcome == "worse" for row in self.rows)

    @property
    def has_compared(self) -> bool:
        """True if at least one row was compared: that nothing moved is else no finding."""
        return any(row.outcome != "not compared" for row in self.rows)

    @property
    def counts(self) -> Counter[str]:
        """The number of rows by outcome."""
        return Counter(row.outcome for row in self.rows)


def diff_runs(old: RunFolder, new: RunFolder) -> RunDiff:
    """Compare two runs. Raises UsageError where no attack was run at a point of both: that nothing moved would be no
    finding."""
    rows = list_rows(old, new)
    if not any(row.seeds[1] for row in rows):
        raise UsageError(f"{old.path} and {new.path}: no point and attack that both measured; nothing can be compared")
    void = [
        f"{name} track void: {reason.words}"
        for name, run in (("old", old), ("new", new))
        for reason in list_void_reasons(run)
    ]
    missing = list_missing_records(old, new)
    return RunDiff(
        tuple(rows), tuple(list_changes(old, new)), tuple(void), tuple(missing), bool(list_void_reasons(new))
    )

"""Two runs compared, as Python reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leakbench.reports.claims.diff import RunDiff
from leakbench.reports.claims.diff_setting import SettingChange
from leakbench.reports.claims.diff_words import format_markdown, format_summary, format_terminal

if TYPE_CHECKING:
    import pandas as pd


class Differences:
    """What moved from one run to another beyond noise, and what changed besides."""

    def __init__(self, found: RunDiff) -> None:
        self._found = found

    @property
    def is_worse(self) -> bool:
        """True if something moved to the worse: more leakage, or samples farther from real images."""
        worse: bool = self._found.is_worse
        return worse

    @property
    def has_compared(self) -> bool:
        """True if at least one row was compared; without one it says nothing that none moved."""
        compared: bool = self._found.has_compared
        return compared

    @property
    def is_new_void(self) -> bool:
        """True if the track of the later run is void."""
        void: bool = self._found.is_new_void
        return void

    @property
    def missing(self) -> tuple[str, ...]:
        """The records that the plan of the later run asks for and that are not in its folder, in words."""
        missing: tuple[str, ...] = self._found.missing
        return missing

    @property
    def changes(self) -> tuple[SettingChange, ...]:
        """What changed apart from numbers: `kind` (plan, data, versions, code, points, attacks), `what`, `old` and
        `new`."""
        changes: tuple[SettingChange, ...] = self._found.changes
        return changes

    @property
    def words(self) -> str:
        """What `leakbench diff` prints."""
        words: str = format_terminal(self._found)
        return words

    @property
    def markdown(self) -> str:
        """A page for a pull request."""
        page: str = format_markdown(self._found)
        return page

    def table(self) -> pd.DataFrame:
        """All rows: a metric of an attack at a point that the earlier run measured.

        Columns: `point`, `attack`, `access`, `metric`; `old`, `new` and `difference`, each with `_low` and `_high`, the
        bounds of its 95 % interval (the difference of an AUC is that of its distance from 0.5); `p`, corrected for the
        whole table; `paired`, else `unpaired` with the reason; `old_seeds`, `new_seeds`; `outcome`: "worse", "better",
        "no change shown" or "not compared", then with a `reason`. Numbers are NaN where there are none.
        """
        import pandas as pd

        rows = []
        for row in self._found.rows:
            told = {"point": row.point, "attack": row.attack, "access": row.access, "metric": row.metric}
            for name, one in (("old", row.old), ("new", row.new), ("difference", row.difference)):
                ends = (None, None, None) if one is None else (one.value, one.low, one.high)
                told |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
            told |= {
                "p": row.p_value,
                "paired": row.paired,
                "unpaired": row.unpaired,
                "old_seeds": row.seeds[0],
                "new_seeds": row.seeds[1],
            }
            rows.append(told | {"outcome": row.outcome, "reason": row.reason})
        table = pd.DataFrame(rows)
        numbers = [f"{name}{end}" for name in ("old", "new", "difference") for end in ("", "_low", "_high")]
        return table.astype(dict.fromkeys([*numbers, "p"], float))

    def __repr__(self) -> str:
        return f"Differences({format_summary(self._found).splitlines()[0]!r})"

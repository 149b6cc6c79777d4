"""A part of a run, to be shown: some of its points and attacks. What validity and looks rest on stays the whole run."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

from leakbench.results.record import QUALITY, Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import RunPlan

ALL = "the strongest attack"  # of all that were run


class ShownRun(RunFolder):
    """A run of which tables and figures show a part. Whether its track is void, which rows mean nothing, what a point
    is compared with and what colour it has is read from the whole.

    points, attacks: names of those shown; None for all. columns: of tables and panels; None for all.
    """

    def __init__(
        self,
        whole: RunFolder,
        points: Collection[str] | None = None,
        attacks: Collection[str] | None = None,
        columns: Collection[str] | None = None,
    ) -> None:
        super().__init__(whole.path)
        self._whole = whole
        self._points = points
        self.attacks = attacks
        self.columns = columns

    @property
    def whole(self) -> RunFolder:
        """The run that this is a part of."""
        return self._whole

    @cached_property
    def plan(self) -> RunPlan:
        """The plan, with the points that are shown."""
        plan = self._whole.plan
        kept = [p for p in plan.points if self._points is None or p.name in self._points]
        return plan.model_copy(update={"points": kept})

    @cached_property
    def records(self) -> list[Record]:
        """The records of points and attacks that are shown; those of quality always are."""
        names = {point.name for point in self.plan.points}
        return [r for r in self._whole.records if r.point in names and self._shows_attack(r.attack)]

    def _shows_attack(self, attack: str) -> bool:
        return self.attacks is None or attack == QUALITY or attack in self.attacks


def shows_column(run: RunFolder, name: str) -> bool:
    """True unless some columns were chosen and this is none of them."""
    chosen = getattr(run, "columns", None)
    return chosen is None or name in chosen


def name_strongest(run: RunFolder) -> str:
    """The strongest attack in words, which says so where it is the strongest of some only."""
    if getattr(run, "attacks", None) is None:
        return ALL
    shown = sorted({record.attack for record in run.records if record.family == "membership"})
    return f"the strongest of {', '.join(shown)}" if shown else ALL

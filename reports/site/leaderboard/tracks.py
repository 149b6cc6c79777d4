"""Tracks: rows that may stand in one table, as they share data set, network, condition, access level and attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from leakbench.results.record import AccessName
from leakbench.results.run_plan import PlannedPoint, RunPlan
from leakbench.results.verified import VerifiedFile

from ...reading.points import measured_levels
from ...reading.void import list_void_reasons
from ..slugs import make_slug
from .check import check_rows, reading
from .ranking import Place, rank_rows
from .results import Setting, Submitted
from .row import Row, build_row
from .sharing import join_same


@dataclass(frozen=True)
class Track:
    """The rows of a setting at an access level, in their order, with the place of those that rank.

    condition: what the networks take besides the noise ("label", "attribute"); "none" for nothing.
    """

    setting: Setting
    condition: str
    access: AccessName
    rows: tuple[tuple[Row, Place | None], ...]

    @property
    def page(self) -> str:
        """The file name of its page."""
        one = self.setting
        what = "" if self.condition == "none" else self.condition
        readable = f"{one.dataset} {one.model} {what} {self.access}"
        identity = (one.dataset, one.model, one.ensemble.name, one.ensemble.digest, one.sizes, self.access)
        return f"track-{make_slug(readable, *identity, self.condition)}.html"

    @property
    def title(self) -> str:
        """Data set, network, what it is conditioned on, and access level."""
        conditioned = [] if self.condition == "none" else [f"{self.condition}-conditioned"]
        return ", ".join([self.setting.dataset, self.setting.model, *conditioned, self.access])

    @property
    def ranked(self) -> int:
        """The number of rows that rank."""
        return sum(place is not None for _, place in self.rows)

    @property
    def leaders(self) -> list[Row]:
        """The rows of rank 1; several where their numbers are equal."""
        return [row for row, place in self.rows if place is not None and place.rank == 1]

    @property
    def protects(self) -> bool:
        """True if some row that ranks is shown to leak less than the baseline of its run."""
        return any(place is not None and row.move == "fell" for row, place in self.rows)

    @property
    def void(self) -> list[tuple[str, list[str]]]:
        """The runs whose results here say nothing, by label, with the reasons."""
        entries = {entry.digest: entry for row, _ in self.rows for entry in row.entries}
        found = [(entry.label, [reason.words for reason in list_void_reasons(entry.run)]) for entry in entries.values()]
        return [(label, reasons) for label, reasons in found if reasons]


def list_tracks(entries: Sequence[Submitted], verified: VerifiedFile) -> list[Track]:
    """All tracks, by data set, network, set of attacks, sizes, condition and access level."""
    found: dict[tuple[Setting, str, AccessName], list[Row]] = {}
    count = 0
    for entry in entries:
        with reading(entry.run):
            for access in cast(list[AccessName], measured_levels(entry.run)):
                count += len(entry.run.plan.points)
                check_rows(count)
                for point in entry.run.plan.points:
                    row = build_row(entry, point, access, verified)
                    for condition in _list_conditions(entry.run.plan, point):
                        found.setdefault((entry.setting, condition, access), []).append(row)
    order = {"SAMPLES": 0, "API": 1, "DENOISER": 2, "WEIGHTS": 3}
    keys = sorted(found, key=lambda key: (_sort_key(key[0]), key[1] != "none", key[1], order[key[2]]))
    return [Track(*key, tuple(rank_rows(join_same(found[key])))) for key in keys]


def _list_conditions(plan: RunPlan, point: PlannedPoint) -> list[str]:
    """The conditions in whose tracks a point stands: its own; for an unconditioned control all that the run has, as an
    untrained network bounds them all."""
    if point.role != "control" or point.condition != "none":
        return [point.condition]
    return sorted({other.condition for other in plan.points if other.role != "control"} or {"none"})


def _sort_key(setting: Setting) -> tuple[str, ...]:
    return setting.dataset, setting.model, setting.ensemble.name, setting.ensemble.digest, setting.sizes

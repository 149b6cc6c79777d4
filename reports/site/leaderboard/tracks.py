"""Tracks: rows that may stand in one table, as they share data set, network, access level and set of attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from leakbench.results.record import AccessName
from leakbench.results.verified import VerifiedFile

from ...reading.points import measured_levels
from ...reading.void import list_void_reasons
from ..slugs import make_slug
from .check import check_rows, reading
from .ranking import Place, rank_rows
from .results import Setting, Submitted
from .row import Row, build_row


@dataclass(frozen=True)
class Track:
    """The rows of a setting at an access level, in their order, with the place of those that rank."""

    setting: Setting
    access: AccessName
    rows: tuple[tuple[Row, Place | None], ...]

    @property
    def page(self) -> str:
        """The file name of its page."""
        one = self.setting
        readable = f"{one.dataset} {one.model} {self.access}"
        identity = (one.dataset, one.model, one.ensemble.name, one.ensemble.digest, one.sizes, self.access)
        return f"track-{make_slug(readable, *identity)}.html"

    @property
    def title(self) -> str:
        """Data set, network and access level."""
        return f"{self.setting.dataset}, {self.setting.model}, {self.access}"

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
        entries = {row.entry.digest: row.entry for row, _ in self.rows}
        found = [(entry.label, [reason.words for reason in list_void_reasons(entry.run)]) for entry in entries.values()]
        return [(label, reasons) for label, reasons in found if reasons]


def list_tracks(entries: Sequence[Submitted], verified: VerifiedFile) -> list[Track]:
    """All tracks, by data set, network, set of attacks, sizes and access level."""
    found: dict[tuple[Setting, AccessName], list[Row]] = {}
    count = 0
    for entry in entries:
        with reading(entry.run):
            for access in cast(list[AccessName], measured_levels(entry.run)):
                count += len(entry.run.plan.points)
                check_rows(count)
                rows = [build_row(entry, point, access, verified) for point in entry.run.plan.points]
                found.setdefault((entry.setting, access), []).extend(rows)
    order = {"SAMPLES": 0, "API": 1, "DENOISER": 2, "WEIGHTS": 3}
    keys = sorted(found, key=lambda key: (_sort_key(key[0]), order[key[1]]))
    return [Track(*key, tuple(rank_rows(found[key]))) for key in keys]


def _sort_key(setting: Setting) -> tuple[str, ...]:
    return setting.dataset, setting.model, setting.ensemble.name, setting.ensemble.digest, setting.sizes

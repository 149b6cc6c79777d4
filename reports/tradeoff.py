"""The trade-off: one row a point (a defense with its swept parameters), quality against leakage.

Over one seed an interval is that seed's, over two the envelope of both (no standard deviation is pretended), from three
on it is `over_seeds`'. Leakage is two-sided: an attack whose members score lower is read the other way round, if the
calibration images say so, and carries the flag `inverted`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from . import beside
from .flags import flags_of
from .measured import Measured, leakage, measure, summary_of
from .points import LEVELS, Point, copy_attacks, points, quality, records_at, strongest
from .words import NOTHING, bracket, distance, distance_title, percent, rate_title

if TYPE_CHECKING:
    import pandas as pd

DISTANCES = ("frechet_heldout", "frechet_floor", "frechet")


@dataclass(frozen=True)
class Leak:
    """The strongest attack at one access level: name (names, where seeds chose differently), AUC, headline TPR.

    Both with the sign that the calibration images asked for; "(inverted)" beside a name says that it is minus.
    """

    attack: str
    auc: Measured | None
    tpr: Measured | None


@dataclass(frozen=True)
class Row:
    """All that the trade-off says of a point; `copies` by attack, `beside` by metric."""

    point: Point
    seeds: int
    features: str
    distances: dict[str, Measured | None]
    leaks: dict[str, Leak]
    copies: dict[str, Measured | None]
    beside: dict[str, Measured | None]
    flags: list[str]


def headline(run: RunFolder) -> str:
    """The metric that ranks, as the suite names it."""
    return run.plan.headline


def rows(run: RunFolder) -> list[Row]:
    """One row a point, in the order of the suite; a point without records has a row without numbers."""
    return [_row(run, point) for point in points(run)]


def _row(run: RunFolder, point: Point) -> Row:
    measured = quality(run, point)
    strong = {level: strongest(run, point, level) for level in LEVELS}
    copies = {attack: records_at(run, point, "replication", attack) for attack in copy_attacks(run)}
    leaks = {level: leak_of(run, list(found.values())) for level, found in strong.items()}
    shown = chain(measured, *(found.values() for found in strong.values()), *copies.values())
    flags = {flag for record in shown for flag in flags_of(record, headline(run))}
    flags |= {"inverted" for leak in leaks.values() if _inverted(leak)}
    return Row(
        point=point,
        seeds=len({r.seed for r in run.records if r.point == point.name}),
        features=_features(measured),
        distances={name: measure(measured, name) for name in DISTANCES},
        leaks=leaks,
        copies={attack: measure(found, "copy_rate_excess") for attack, found in copies.items()},
        beside=beside.measured_beside(run, point),
        flags=sorted(flags),
    )


def leak_of(run: RunFolder, found: list[Record]) -> Leak:
    """What the records of a point say at one access level, one a seed."""
    names = sorted({r.attack + (" (inverted)" if "inverted" in r.flags else "") for r in found})
    return Leak(" / ".join(names), leakage(found, "auc"), leakage(found, headline(run)))


def _inverted(leak: Leak) -> bool:
    return leak.auc is not None and any(e.high < 0.5 for e in leak.auc.by_seed.values())


def tradeoff_table(run: RunFolder) -> pd.DataFrame:
    """The rows as numbers: `NAME`, `NAME_low`, `NAME_high` for each quantity; NaN where there is none."""
    import pandas as pd

    return pd.DataFrame([_numbers(run, row) for row in rows(run)])


def _numbers(run: RunFolder, row: Row) -> dict[str, object]:
    cells: dict[str, object] = {"point": row.point.name, "defense": row.point.defense, "role": row.point.role}
    cells |= {"seeds": row.seeds, "features": row.features}
    for name, found in row.distances.items():
        cells |= _spread(name, found)
    for level, leak in row.leaks.items():
        cells[f"{level.lower()}_attack"] = leak.attack
        cells |= _spread(f"{level.lower()}_auc", leak.auc) | _spread(f"{level.lower()}_{headline(run)}", leak.tpr)
    for attack, found in row.copies.items():
        cells |= _spread(f"copy_rate_excess_{copy_attacks(run)[attack]}", found)
    for name, found in row.beside.items():
        cells |= _spread(name, found)
    return cells | {"flags": ";".join(row.flags)}


def _spread(name: str, found: Measured | None) -> dict[str, object]:
    summary = summary_of(found)
    values = (summary.mean, summary.low, summary.high) if summary else (float("nan"),) * 3
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def distance_name(run: RunFolder) -> str:
    """What the run's Frechet distance is called: by its features, and FID for Inception's alone."""
    features = {_features(quality(run, point)) for point in points(run)} - {""}
    return " / ".join(distance_title(f) for f in sorted(features)) or "FD"


def _features(measured: list[Record]) -> str:
    return " / ".join(sorted({record.features for record in measured}))


def tradeoff_text(run: RunFolder) -> tuple[list[str], list[list[str]]]:
    """The rows as text, for a terminal or a page: the titles, and the cells of each row."""
    name, tpr = distance_name(run), rate_title(headline(run))
    titles = ["point", f"{name}, held-out", "its floor", f"{name}, training set"]
    levels = levels_shown(run)
    for title in levels.values():
        titles += [f"{title}: strongest, AUC", f"{title}: {tpr}"]
    titles += [f"copies beyond null, {label}" for label in copy_attacks(run).values()]
    titles += [beside.title(name) for name in beside.beside(run)]
    found = rows(run)
    everywhere = shared_flags(found)
    return [*titles, "flags"], [_text(row, everywhere, levels) for row in found]


def levels_shown(run: RunFolder) -> dict[str, str]:
    """The levels that a table shows, and how it calls them: where nothing but samples was ever asked, one, by that."""
    asked = {record.access for record in run.records if record.family == "membership" and record.metrics}
    if asked and not asked & {"API", *LEVELS}:
        return {LEVELS[0]: "SAMPLES"}
    return {level: level for level in LEVELS}


def shared_flags(found: list[Row]) -> set[str]:
    """Flags that every one of several points carries: said once below a table, they need no column."""
    return set.intersection(*(set(row.flags) for row in found)) if len(found) > 1 else set()


def _text(row: Row, everywhere: set[str], levels: dict[str, str]) -> list[str]:
    cells = [row.point.name, *(distance(summary_of(row.distances[name])) for name in DISTANCES)]
    for leak in (row.leaks[level] for level in levels):
        auc = bracket(summary_of(leak.auc))
        cells += [f"{leak.attack} {auc}" if leak.attack else NOTHING, percent(summary_of(leak.tpr))]
    cells += [percent(summary_of(found)) for found in row.copies.values()]
    cells += [beside.text(name, found) for name, found in row.beside.items()]
    return [*cells, ", ".join(flag for flag in row.flags if flag not in everywhere)]

"""The trade-off: one row a point (a defense with its swept parameters), quality against leakage.

Leakage at an access level is that of the attack with the largest corrected lower bound, and its interval is the
corrected one (`family.py`); the TPR may be another attack's than the AUC. Over one seed an interval is that seed's;
over two it is the envelope of both, as no standard deviation can be had from two; from three on it is `over_seeds`'.
Leakage is two-sided: an attack whose members score lower is read the other way round, if the calibration images say
so, and carries the flag `inverted`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from leakbench.results.flags import Flag
from leakbench.results.metric_specs import COPY_EXCESS
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .aggregate import Aggregate, aggregate, summarise_metric
from .distances import aggregate_distance, join_features
from .extra_columns import aggregate_extra_columns
from .leakage import Leak
from .metric_flags import read_flags
from .points import TRADEOFF_LEVELS
from .selection import copy_attacks, quality_records, select_records
from .standing import find_standing
from .tradeoff_axes import DISTANCES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TradeoffRow:
    """A point in the trade-off.

    distances: by metric. leaks: by access level. copies: by attack. extra: further columns, by metric.
    """

    point: PlannedPoint
    seeds: int
    features: str
    distances: dict[str, Aggregate | None]
    leaks: dict[str, Leak]
    copies: dict[str, Aggregate | None]
    extra: dict[str, Aggregate | None]
    flags: list[str]


def list_rows(run: RunFolder) -> list[TradeoffRow]:
    """One row a point, in the order of the suite; a point without records has a row without numbers."""
    return [_build_row(run, point) for point in run.plan.points]


def _build_row(run: RunFolder, point: PlannedPoint) -> TradeoffRow:
    quality = quality_records(run, point)
    standing = {level: find_standing(run, point, level) for level in TRADEOFF_LEVELS}
    copies = {attack: select_records(run, point, "replication", attack) for attack in copy_attacks(run)}
    leaks = {level: found.collect(run) for level, found in standing.items()}
    shown = chain(quality, *(found.records for found in standing.values()), *copies.values())
    flags = {flag for record in shown for flag in read_flags(run, record, run.plan.headline)}
    flags |= {Flag.INVERTED.value for leak in leaks.values() if _is_inverted(leak)}
    return TradeoffRow(
        point=point,
        seeds=len({r.seed for r in run.records if r.point == point.name}),
        features=join_features(quality),
        distances={name: aggregate_distance(quality, name) for name in DISTANCES},
        leaks=leaks,
        copies={attack: aggregate(found, COPY_EXCESS) for attack, found in copies.items()},
        extra=aggregate_extra_columns(run, point),
        flags=sorted(flags),
    )


def _is_inverted(leak: Leak) -> bool:
    return leak.auc is not None and any(e.high < 0.5 for e in leak.auc.by_seed.values())


def shown_levels(run: RunFolder) -> dict[str, str]:
    """The access levels that the table shows, and their titles.

    Where nothing but samples was ever asked for, all attacks count at the lowest of them, under the title SAMPLES.
    """
    asked = {record.access for record in run.records if record.family == "membership" and record.metrics}
    if asked and not asked & {"API", *TRADEOFF_LEVELS}:
        return {TRADEOFF_LEVELS[0]: "SAMPLES"}
    return {level: level for level in TRADEOFF_LEVELS}


def tradeoff_table(run: RunFolder) -> pd.DataFrame:
    """The rows as numbers: `NAME`, `NAME_low`, `NAME_high` for each quantity; NaN where there is none. `LEVEL_attack`
    is the attack whose AUC stands at a level, `LEVEL_rate_attack` the one whose TPR does."""
    import pandas as pd

    levels = shown_levels(run)
    return pd.DataFrame([_numbers(run, row, levels) for row in list_rows(run)])


def _numbers(run: RunFolder, row: TradeoffRow, levels: dict[str, str]) -> dict[str, object]:
    cells: dict[str, object] = {"point": row.point.name, "defense": row.point.defense, "role": row.point.role}
    cells |= {"seeds": row.seeds, "features": row.features}
    for name, found in row.distances.items():
        cells |= _spread(name, found)
    for level, title in levels.items():
        leak, name = row.leaks[level], title.lower()
        cells[f"{name}_attack"] = leak.attack
        cells[f"{name}_rate_attack"] = leak.rate_attack or leak.attack
        cells |= _spread(f"{name}_auc", leak.auc)
        cells |= _spread(f"{name}_{run.plan.headline}", leak.tpr)
    for attack, found in row.copies.items():
        cells |= _spread(f"{COPY_EXCESS}_{copy_attacks(run)[attack]}", found)
    for name, found in row.extra.items():
        cells |= _spread(name, found)
    return cells | {"flags": ";".join(row.flags)}


def _spread(name: str, found: Aggregate | None) -> dict[str, object]:
    summary = summarise_metric(found)
    values = (summary.mean, summary.low, summary.high) if summary else (float("nan"),) * 3
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))

"""Leakage of a point at one access level: what its attacks show, with intervals that hold for all of them together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from leakbench.results.flags import Flag
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from .aggregate import Aggregate
from .family import Corrected, find_corrected


@dataclass(frozen=True)
class Leak:
    """An attack at one access level: name (names, where seeds chose differently), AUC, headline TPR.

    Both have the sign that the calibration images asked for, "(inverted)" beside a name says that it is minus, and the
    corrected intervals of the release's family (`family.py`), the widest `level` of the seeds. `rate_attack` is the
    attack whose TPR it is, where that is another one.
    """

    attack: str
    auc: Aggregate | None
    tpr: Aggregate | None
    rate_attack: str = ""
    level: float = 0.95


def collect_leak(run: RunFolder, records: Iterable[Record], by_rate: Iterable[Record] | None = None) -> Leak:
    """The leak that the chosen records of a point show, one record a seed; the TPR is that of `by_rate`, if given."""
    chosen = list(records)
    rated = chosen if by_rate is None else list(by_rate)
    found, rates = _correct(run, chosen), _correct(run, rated)
    aucs = {seed: one.auc for seed, one in found.items()}
    tprs = {seed: one.tpr for seed, one in rates.items() if one.tpr is not None}
    attack, rate_attack = join_names(chosen), join_names(rated)
    return Leak(
        attack,
        Aggregate("auc", aucs) if aucs else None,
        Aggregate(run.plan.headline, tprs) if tprs else None,
        "" if rate_attack == attack else rate_attack,
        max((one.level for one in (*found.values(), *rates.values())), default=0.95),
    )


def join_names(records: list[Record]) -> str:
    """The names of the records' attacks, each once, with "(inverted)" beside one whose members score lower."""
    names = {r.attack + (" (inverted)" if Flag.INVERTED in r.flags else "") for r in records}
    return " / ".join(sorted(names))


def _correct(run: RunFolder, records: list[Record]) -> dict[int, Corrected]:
    found = {record.seed: find_corrected(run, record) for record in sorted(records, key=lambda r: r.seed)}
    return {seed: one for seed, one in found.items() if one is not None}

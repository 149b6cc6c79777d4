"""Columns that join the trade-off where their networks' weights were on the machine: `METRIC@features=NAME`.

They stand in the quality records beside the suite's own features: DINOv2's Frechet distance with its floor, and copies
beyond null by SSCD.
"""

from __future__ import annotations

from collections.abc import Callable

from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Summary

from .measured import Measured, measure, summary_of
from .points import Point, points, quality
from .words import distance, distance_title, percent

_MARK = "@features="
_SHOWN: dict[str, tuple[str, Callable[[Summary | None], str]]] = {
    "frechet_heldout": ("{distance}, held-out", distance),
    "frechet_floor": ("{distance}, its floor", distance),
    "copy_rate_excess": ("copies beyond null, {features}", percent),
}


def beside(run: RunFolder) -> list[str]:
    """The metrics that some quality record holds in features beside the suite's own, in the order of the columns."""
    found = {m.name for point in points(run) for r in quality(run, point) for m in r.metrics if _MARK in m.name}
    order = list(_SHOWN)
    return sorted((n for n in found if _kind(n) in _SHOWN), key=lambda n: (order.index(_kind(n)), n))


def measured_beside(run: RunFolder, point: Point) -> dict[str, Measured | None]:
    """Their values at a point."""
    return {name: measure(quality(run, point), name) for name in beside(run)}


def title(name: str) -> str:
    """The column of a metric."""
    features = name.partition(_MARK)[2]
    return _SHOWN[_kind(name)][0].format(features=features, distance=distance_title(features))


def text(name: str, found: Measured | None) -> str:
    """A cell of it."""
    return _SHOWN[_kind(name)][1](summary_of(found))


def _kind(name: str) -> str:
    return name.partition(_MARK)[0]

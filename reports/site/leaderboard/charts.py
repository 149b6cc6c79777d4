"""Plots of the site in Vega-Lite, drawn in the reader's browser by the library that is copied into it.

A specification is plain data: names in it are values, never expressions. Colours are Okabe and Ito's, with a shape to
each, so that grey is enough; text and axes take the page's own colour, light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isnan
from typing import Any

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Summary, roc_curve

from ...reading.formatting import format_ci, format_distance
from ...reading.scores import load_scores
from .ranking import Place
from .row import Row

Spec = dict[str, Any]

KINDS = ("ranked", "reference", "control", "not ranked")
_COLOURS = ["#0072B2", "#D55E00", "#7f7f7f", "#CC79A7"]
_SHAPES = ["circle", "diamond", "cross", "triangle-up"]
_STEPS = 160  # of a ROC curve: more are thinned out evenly on its logarithmic axis
_LEAST_RATE = 1e-4

_CONFIG = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": "currentColor", "strokeOpacity": 0.3},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "tickColor": "currentColor",
        "domainColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.12,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "orient": "bottom",
        "columns": 2,
        "labelLimit": 260,
        "labelFontSize": 12,
    },
}


def plot_tradeoff(rows: Sequence[tuple[Row, Place | None]], distance: str, line: bool = False) -> Spec | None:
    """Leakage against distance with both intervals; None where no row has both. line: joins the rows in their order,
    as the points of a sweep."""
    data = [datum for number, (row, place) in enumerate(rows) if (datum := _point(number, row, place))]
    if not data:
        return None
    x: Spec = {"field": "x", "type": "quantitative", "title": f"{distance} to held-out images (lower is better)"}
    x |= {"scale": {"type": "sqrt", "zero": True}, "axis": {"tickCount": 6}}
    y = {"field": "y", "type": "quantitative", "title": "AUC of the strongest attack", "scale": {"zero": False}}
    seen = [kind for kind in KINDS if any(datum["kind"] == kind for datum in data)]
    look = [
        {
            "field": "kind",
            "type": "nominal",
            "title": None,
            "scale": {"domain": seen, "range": [values[KINDS.index(kind)] for kind in seen]},
        }
        for values in (_COLOURS, _SHAPES)
    ]
    colour = {"color": look[0]}
    layers: list[Spec] = [
        {
            "data": {"values": [{"half": 0.5}]},
            "mark": {"type": "rule", "strokeDash": [4, 4], "color": "currentColor"},
            "encoding": {"y": {"field": "half", "type": "quantitative"}},
        },
        {
            "mark": {"type": "rule", "opacity": 0.6},
            "encoding": {"x": x, "y": y | {"field": "y0"}, "y2": {"field": "y1"}, **colour},
        },
        {
            "mark": {"type": "rule", "opacity": 0.6},
            "encoding": {"x": x | {"field": "x0"}, "x2": {"field": "x1"}, "y": y, **colour},
        },
    ]
    if line:
        joined = {"x": x, "y": y, "order": {"field": "number", "type": "quantitative"}}
        layers.append(
            {
                "transform": [{"filter": {"field": "swept", "equal": True}}],
                "mark": {"type": "line", "color": "currentColor", "opacity": 0.4},
                "encoding": joined,
            }
        )
    names = {
        "name": "point",
        "run": "run",
        "rank": "rank",
        "attack": "strongest attack",
        "auc": "AUC",
        "distance": distance,
        "why": "note",
    }
    tooltip = [{"field": field, "type": "nominal", "title": title} for field, title in names.items()]
    points = {"x": x, "y": y, "color": look[0], "shape": look[1], "tooltip": tooltip}
    layers.append({"mark": {"type": "point", "filled": True, "size": 90, "opacity": 0.95}, "encoding": points})
    if "reference" in seen:  # the library warns of a layer without data
        layers.append(
            {
                "transform": [{"filter": {"field": "kind", "equal": "reference"}}],
                "mark": {"type": "text", "align": "left", "dx": 8, "dy": -8, "color": "currentColor", "limit": 200},
                "encoding": {"x": x, "y": y, "text": {"field": "name", "type": "nominal"}},
            }
        )
    return _chart(layers, data, "Quality against leakage")


def _point(number: int, row: Row, place: Place | None) -> Spec | None:
    distance = row.distance.summary if row.distance else None
    if distance is None or row.auc is None:
        return None
    kind = {"baseline": "reference", "control": "control"}.get(row.point.role, "ranked" if place else "not ranked")
    return {
        "number": number,
        "x": distance.mean,
        "y": row.auc.mean,
        **_ends("x", distance),
        **_ends("y", row.auc),
        "kind": kind,
        "swept": kind in ("ranked", "not ranked"),
        "name": row.point.name,
        "run": ", ".join(entry.label for entry in row.entries),
        "rank": place.words if place else "none",
        "attack": row.attack,
        "auc": format_ci(row.auc),
        "distance": format_distance(distance),
        "why": row.unranked or "-",
    }


def _ends(axis: str, found: Summary) -> Spec:
    low, high = (found.mean if isnan(bound) else bound for bound in (found.low, found.high))
    return {f"{axis}0": low, f"{axis}1": high}


def plot_roc(run: RunFolder, chosen: Iterable[tuple[str, Record]]) -> Spec | None:
    """ROC curves, both axes logarithmic, by a name each; None where no scores were kept."""
    data: list[Spec] = []
    names: list[str] = []
    for name, record in chosen:
        if (scores := load_scores(run, record)) is None:
            continue
        names.append(name)
        data += [{"x": x, "y": y, "curve": name, "attack": record.attack} for x, y in _thin(*scores)]
    if not data:
        return None
    least = max(_LEAST_RATE, min(float(one["x"]) for one in data))
    log = {"type": "log", "domain": [least, 1], "clamp": True, "nice": False}
    # equal titles and domains: the library joins the legends of colour and dash
    look = {"field": "curve", "type": "nominal", "title": "point", "scale": {"domain": names}}
    encoding = {
        "x": {"field": "x", "type": "quantitative", "title": "false-positive rate", "scale": log},
        "y": {"field": "y", "type": "quantitative", "title": "true-positive rate", "scale": log},
        "color": look,
        "strokeDash": look,
        "tooltip": [
            {"field": "curve", "type": "nominal", "title": "point"},
            {"field": "attack", "type": "nominal", "title": "attack"},
            {"field": "x", "type": "quantitative", "title": "FPR", "format": ".3~f"},
            {"field": "y", "type": "quantitative", "title": "TPR", "format": ".3~f"},
        ],
    }
    chance = {
        "data": {"values": [{"x": least}, {"x": 1}]},
        "mark": {"type": "line", "strokeDash": [4, 4], "color": "currentColor", "opacity": 0.5},
        "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "x", "type": "quantitative"}},
    }
    curves = {"mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2}, "encoding": encoding}
    return _chart([chance, curves], data, "ROC of the strongest attack")


def _thin(member: Any, nonmember: Any) -> list[tuple[float, float]]:
    """The steps of a curve from the first false alarm on, at most `_STEPS` of them."""
    import numpy as np

    roc = roc_curve(member, nonmember)
    last = np.append(np.diff(roc.fpr) > 0, True) & (roc.fpr > 0) & (roc.tpr > 0)  # the top of each step
    x, y = roc.fpr[last], roc.tpr[last]
    if len(x) > _STEPS:
        wanted = np.geomspace(x[0], 1.0, _STEPS)
        kept = np.unique(np.searchsorted(x, wanted).clip(0, len(x) - 1))
        x, y = x[kept], y[kept]
    return [(round(float(a), 5), round(float(b), 5)) for a, b in zip(x, y, strict=True)]


def _chart(layers: list[Spec], data: list[Spec], description: str) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": description,
        "width": "container",
        "height": 340,
        "config": _CONFIG,
        "data": {"values": data},
        "layer": layers,
    }

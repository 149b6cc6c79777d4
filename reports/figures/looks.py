"""One colour and marker a defense (Okabe and Ito's colours), one shade a point of its sweep; the same in every figure.

Shades run from light to full in the order of the sweep. The baseline is a black ring, large enough to be seen around
what lies on it; controls are grey crosses. Lines are the thinner the later they are drawn, so that none hides another.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.records import RunFolder

from ..points import Point, most_protective, points, sweeps, unprotected

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("s", "D", "^", "v", "P", "h")
_CONTROLS = ("#6e6e6e", "#a0a0a0")
_LIGHTEST = 0.4  # share of the full colour in the first point of a sweep


@dataclass(frozen=True)
class Look:
    """Colours are "#rrggbb"; `curve` is the defense's own colour, `colour` the point's shade of it."""

    colour: str
    curve: str
    marker: str
    ring: bool = False


def looks(run: RunFolder) -> dict[str, Look]:
    """The look of every point, by its name."""
    found: dict[str, Look] = {}
    for i, sweep in enumerate(sweeps(run).values()):
        full = _COLOURS[i % len(_COLOURS)]
        for k, point in enumerate(sweep):
            strength = 1.0 if len(sweep) == 1 else _LIGHTEST + (1 - _LIGHTEST) * k / (len(sweep) - 1)
            found[point.name] = Look(_lighter(full, strength), full, _MARKERS[i % len(_MARKERS)])
    rest = [p for p in points(run) if p.name not in found]
    greys = [p.name for p in rest if p.role == "control"]
    for point in rest:
        grey = _CONTROLS[greys.index(point.name) % len(_CONTROLS)] if point.name in greys else "#000000"
        found[point.name] = Look(grey, grey, "X") if point.name in greys else Look(grey, grey, "o", ring=True)
    return {p.name: found[p.name] for p in points(run)}


def _lighter(colour: str, strength: float) -> str:
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - strength * (255 - c)):02x}" for c in channels)


def line_width(index: int, count: int) -> float:
    """The width in points of the line that is drawn as number `index`, from 0, of `count`."""
    return 0.8 if count == 1 else 2.4 - 1.7 * index / (count - 1)


def few(run: RunFolder) -> list[Point]:
    """The points that a crowded figure shows: no protection, each defense at its least copying, the controls."""
    reference = unprotected(run)
    chosen = [most_protective(run, sweep) for sweep in sweeps(run).values()]
    controls = [p for p in points(run) if p.role == "control"]
    return [*([reference] if reference else []), *chosen, *controls]

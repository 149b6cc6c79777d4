"""One colour and marker a defense (Okabe and Ito's colours), one shade a point of its sweep; the same in every figure.

Shades run from light to full in the order of the sweep. The baseline is a black ring, large enough to be seen around
what lies on it, further baselines are black frames of other shapes; controls are grey crosses. Lines are the thinner
the later they are drawn, so that none hides another.
Lines differ in their dashes as well, and points in their markers, so that all is told apart in grey. With more defenses
than colours the colours come round again, with other markers and other dashes. A run of many points
has a legend of its defenses, as one of its points would be larger than the figure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..reading.marks import find_marks, format_marks
from ..reading.points import list_sweeps

Dash = str | tuple[int, tuple[float, ...]]  # of a line, as matplotlib takes it

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("s", "D", "^", "v", "P", "h", "<", ">", "p", "d")
_DASHES: tuple[Dash, ...] = (  # none is solid: that is the baseline's
    (0, (5, 1.5)),
    (0, (1, 1)),
    (0, (5, 1, 1, 1)),
    (0, (9, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (8, 1, 2, 1)),
)
_RINGS = ("o", "s", "D", "^")
_CONTROL = "X"
_CONTROLS = ("#6e6e6e", "#a0a0a0")
_LIGHTEST = 0.4  # share of the full colour in the first point of a sweep
MANY = 16  # points: with more of them a legend names defenses


@dataclass(frozen=True)
class PointStyle:
    """Colours are "#rrggbb"; `curve` is the defense's own colour, `colour` the point's shade of it.

    `label` is what a legend calls the point, `turn` how often the colours have come round before it. `hollow`: its row
    means nothing. `dash`: of the defense's line, so that it is told apart in grey.
    """

    colour: str
    curve: str
    marker: str
    label: str
    ring: bool = False
    hollow: bool = False
    turn: int = 0
    dash: Dash = "-"


def list_styles(run: RunFolder, by_point: bool = True) -> dict[str, PointStyle]:
    """The style of every point, by its name. `by_point`: whether a legend may name the points of a sweep one by one."""
    if run.whole is not run:  # a part looks as it does in the whole
        styles = list_styles(run.whole, by_point)
        return {point.name: styles[point.name] for point in run.plan.points}
    every = run.plan.points
    found: dict[str, PointStyle] = {}
    for i, sweep in enumerate(list_sweeps(run).values()):
        found |= _sweep(i, sweep, by_point and len(every) <= MANY)
    rest = [p for p in every if p.name not in found]
    greys = [p.name for p in rest if p.role == "control"]
    blacks = [p.name for p in rest if p.role != "control"]
    for i, name in enumerate(greys):
        grey = _CONTROLS[i % len(_CONTROLS)]
        found[name] = PointStyle(grey, grey, _CONTROL, name)
    for i, name in enumerate(blacks):
        found[name] = PointStyle("#000000", "#000000", _RINGS[i % len(_RINGS)], name, ring=True)
    return {p.name: _marked(run, p, found[p.name]) for p in every}


def _marked(run: RunFolder, point: PlannedPoint, style: PointStyle) -> PointStyle:
    """The style of a point whose row means nothing says so; of any other it stays."""
    if not find_marks(run, point.name):
        return style
    own = format_marks(run, point.name) if style.label == point.name else ""
    return replace(style, label=style.label + own, hollow=True)


def _sweep(number: int, sweep: list[PlannedPoint], by_point: bool) -> dict[str, PointStyle]:
    """The looks of one defense's points: colour and marker come round after different numbers of defenses."""
    turn, place = divmod(number, len(_COLOURS))
    full, marker = _COLOURS[place], _MARKERS[(place + turn) % len(_MARKERS)]
    dash = _DASHES[(place + turn) % len(_DASHES)]
    found = {}
    for k, point in enumerate(sweep):
        strength = 1.0 if len(sweep) == 1 else _LIGHTEST + (1 - _LIGHTEST) * k / (len(sweep) - 1)
        label = point.name if by_point or len(sweep) == 1 else point.defense
        colour = _lighter(full, strength)
        found[point.name] = PointStyle(colour, full, marker, label, turn=turn, dash=dash)
    return found


def _lighter(colour: str, strength: float) -> str:
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - strength * (255 - c)):02x}" for c in channels)


def line_width(index: int, count: int) -> float:
    """The width in points of the line that is drawn as number `index`, from 0, of `count`."""
    return 0.8 if count == 1 else 2.4 - 1.7 * index / (count - 1)


def turns(names: Iterable[str], styles: dict[str, PointStyle]) -> list[list[str]]:
    """The names in rows of as many defenses as there are colours; baseline and controls stand in every row."""
    ordered = list(dict.fromkeys(names))
    everywhere = {name for name in ordered if styles[name].ring or styles[name].marker == _CONTROL}
    rows = sorted({styles[name].turn for name in ordered if name not in everywhere}) or [0]
    return [[name for name in ordered if name in everywhere or styles[name].turn == row] for row in rows]

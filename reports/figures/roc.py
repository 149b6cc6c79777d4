"""ROC curves of the strongest attacks, exact steps, both axes logarithmic: what counts is the left end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Roc, oriented, roc_curve

from ..reading.points import TRADEOFF_LEVELS
from ..reading.strongest import representative_points, strongest
from .canvas import PAGE, MissingData, entries, figure, legend, rests_on_split
from .styles import PointStyle, line_width, list_styles, turns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "ROC of each point's strongest attack (chosen on calibration images), one line a seed, exact steps. Shown are no "
    "protection, each defense at its point of least copying, and the controls; signs as the "
    "calibration images asked for. Axes begin at one image of the group. "
    "Lines that coincide lie within each other. Many defenses stand in several rows, each with the baseline."
)


@dataclass(frozen=True)
class RocCurve:
    """The curve of one seed; `members` and `nonmembers` are the numbers of images."""

    point: str
    roc: Roc
    members: int
    nonmembers: int


@dataclass(frozen=True)
class Rocs:
    """The curves of each access level."""

    levels: dict[str, list[RocCurve]]
    styles: dict[str, PointStyle]


def collect_data(run: RunFolder) -> Rocs:
    """Collect the curves. Raises MissingData where no membership attack kept its scores."""
    levels = {level: _curves(run, level) for level in TRADEOFF_LEVELS}
    levels = {level: curves for level, curves in levels.items() if curves}
    if not levels:
        raise MissingData("no membership attack with raw scores")
    return Rocs(levels, list_styles(run))


def _curves(run: RunFolder, level: str) -> list[RocCurve]:
    chosen = [(p.name, record) for p in representative_points(run) for record in strongest(run, p, level).values()]
    found = [_curve(run, name, record) for name, record in chosen]
    return [curve for curve in found if curve is not None]


def _curve(run: RunFolder, name: str, record: Record) -> RocCurve | None:
    arrays = run.arrays(record)
    if "member_scores" not in arrays or "nonmember_scores" not in arrays:
        return None
    sign = record.info.get("orientation", 1.0)  # the one that the calibration images asked for
    member, nonmember = (oriented(arrays[side], sign) for side in ("member_scores", "nonmember_scores"))
    return RocCurve(name, roc_curve(member, nonmember), member.size, nonmember.size)


def plot(data: Rocs) -> Figure:
    """Plot one panel a level, side by side; many defenses in several rows of them."""
    rows = turns((curve.point for curves in data.levels.values() for curve in curves), data.styles)
    drawn = figure(PAGE, 2.8 if len(rows) == 1 else 2.2 * len(rows))
    grid = drawn.subplots(len(rows), len(data.levels), squeeze=False, sharex=True, sharey=True)
    for names, axes in zip(rows, grid, strict=True):
        for ax, (level, curves) in zip(axes, data.levels.items(), strict=True):
            _panel(ax, level, curves, names, data.styles)
    for ax in grid[1:].flatten():
        ax.set_title("")
    for ax in grid[:-1].flatten():
        ax.set_xlabel("")
    legend(drawn, entries(grid.flatten()), dashed=len(rows) > 1)
    return drawn


def _panel(ax: Axes, level: str, curves: list[RocCurve], names: list[str], styles: dict[str, PointStyle]) -> None:
    left, bottom = (1 / max(getattr(c, n) for c in curves) for n in ("nonmembers", "members"))
    for curve in (curve for curve in curves if curve.point in names):
        # Zero has no place on a logarithmic axis: put just outside, so that the first step is drawn whole.
        x, y = curve.roc.fpr.clip(left / 2), curve.roc.tpr.clip(bottom / 2)
        its, width = styles[curve.point], line_width(names.index(curve.point), len(names))
        options: dict[str, Any] = {"color": its.curve, "linestyle": its.dash, "linewidth": width}
        ax.plot(x, y, drawstyle="steps-post", label=its.label if its.hollow else curve.point, **options)
    rests_on_split(ax)
    start = max(left, bottom)
    ax.plot([start, 1], [start, 1], color="0.45", linewidth=0.7, linestyle=":", label="chance")
    ax.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(bottom, 1), title=level)
    ax.set(xlabel="false-positive rate", ylabel="true-positive rate")

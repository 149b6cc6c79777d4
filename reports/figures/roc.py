"""ROC curves of the strongest attacks, exact steps, both axes logarithmic: what counts is the left end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Roc, RocBand, oriented, roc_band, roc_curve

from ..reading.points import TRADEOFF_LEVELS
from ..reading.scores import load_groups
from ..reading.strongest import representative_points, strongest
from .canvas import PAGE, MissingData, entries, figure, legend, panel_grid, panels_across, rests_on_split, strip_inner
from .styles import PointStyle, line_width, list_styles, turns
from .values import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "ROC of each point's strongest attack (by its corrected AUC), one line a seed, exact steps. Shown are no "
    "protection, each defense at its point of least copying, and the controls; signs as the "
    "calibration images asked for. Bands hold the true rate at each false-positive rate with 95 %, and begin where "
    "there is a lower bound; where images come in groups there are none. Axes begin at one image of the group. "
    "Lines that are drawn later are narrower, so that of lines that coincide each is seen. Many defenses stand in "
    "several rows, each with the baseline."
)
_LEAST = 2.2  # inches of a panel
_FAINT = 0.1  # opacity of a band: several lie over one another


@dataclass(frozen=True)
class RocCurve:
    """The curve of one seed; `members` and `nonmembers` are the numbers of images. No band where they are grouped."""

    point: str
    seed: int
    roc: Roc
    members: int
    nonmembers: int
    band: RocBand | None = None


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
    band = roc_band(member, nonmember) if load_groups(run, record) is None else None
    return RocCurve(name, record.seed, roc_curve(member, nonmember), member.size, nonmember.size, band)


def list_values(data: Rocs) -> list[Values]:
    """The numbers of the figure: the steps of each curve."""
    return [
        {"panel": level, "point": curve.point, "seed": curve.seed, "fpr": x, "tpr": y, "tpr_low": low, "tpr_high": high}
        for level, curves in data.levels.items()
        for curve in curves
        for x, y, low, high in _steps(curve)
    ]


def _steps(curve: RocCurve) -> Iterator[tuple[float, float, float | None, float | None]]:
    none = [None] * curve.roc.fpr.size
    low, high = (curve.band.low, curve.band.high) if curve.band else (none, none)
    return zip(curve.roc.fpr, curve.roc.tpr, low, high, strict=True)


def plot(data: Rocs, width: float = PAGE) -> Figure:
    """Plot one panel a level, side by side or one under the other; many defenses in several rows of them."""
    rows = turns((curve.point for curves in data.levels.values() for curve in curves), data.styles)
    across = panels_across(len(data.levels), width, _LEAST, len(rows))
    lines = len(rows) * -(-len(data.levels) // across)
    drawn = figure(width, 2.8 if lines == 1 else (2.2 if width == PAGE or len(rows) == 1 else 1.7) * lines)
    grid = panel_grid(drawn, len(rows), len(data.levels), across, share_x="all", share_y="all")
    for names, axes in zip(rows, grid, strict=True):
        for ax, (level, curves) in zip(axes, data.levels.items(), strict=True):
            _panel(ax, level, curves, names, data.styles)
    strip_inner(grid)
    legend(drawn, entries(ax for row in grid for ax in row), dashed=True)
    return drawn


def _panel(ax: Axes, level: str, curves: list[RocCurve], names: list[str], styles: dict[str, PointStyle]) -> None:
    left, bottom = (1 / max(getattr(c, n) for c in curves) for n in ("nonmembers", "members"))
    for curve in (curve for curve in curves if curve.point in names):
        # Zero has no place on a logarithmic axis: put just outside, so that the first step is drawn whole.
        x, y = curve.roc.fpr.clip(left / 2), curve.roc.tpr.clip(bottom / 2)
        its, width = styles[curve.point], line_width(names.index(curve.point), len(names))
        options: dict[str, Any] = {"color": its.curve, "linestyle": its.dash, "linewidth": width}
        if curve.band is not None:
            known = curve.band.low > 0  # so few false positives bound no rate from below
            low, high = (bound[known].clip(bottom / 2) for bound in (curve.band.low, curve.band.high))
            ax.fill_between(x[known], low, high, step="post", color=its.curve, alpha=_FAINT, linewidth=0)
        ax.plot(x, y, drawstyle="steps-post", label=its.label if its.hollow else curve.point, **options)
    rests_on_split(ax)
    start = max(left, bottom)
    ax.plot([start, 1], [start, 1], color="0.45", linewidth=0.7, linestyle=":", label="chance")
    ax.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(bottom, 1), title=level)
    ax.set(xlabel="false-positive rate", ylabel="true-positive rate")

"""Forgetting against quality on the other labels: one curve a defense, the points its sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leakbench.results.run_folder import RunFolder

from ..reading.distances import distance_name
from ..reading.forgetting import FORGOTTEN, Forgetting, list_forgetting
from .canvas import COLUMN, MissingData, entries, figure, legend, log_ticks
from .dots import Dot, as_star, build_axis, dot_values, list_dots, plot_dots
from .styles import MANY, PointStyle, list_styles
from .values import Values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = (
    "Forget probability (of the label that was to go, on samples asked for it) against the Frechet distance of samples "
    "asked for the other labels to real images of those. Lines join a defense's points in the order of its sweep, "
    "shades run from light to full along it. Large markers are means over the seeds with their intervals, small ones "
    "seeds; intervals that end near 0 leave a logarithmic axis. The star was retrained without that label."
)
RETRAINED = "retrain"  # the method that the others are measured by
_CROWDED = 8.0  # a wider range of probabilities than this gets a logarithmic axis


@dataclass(frozen=True)
class Forgettings:
    """Data of the figure; `real` is the rate on real images of the label."""

    dots: list[Dot]
    styles: dict[str, PointStyle]
    distance: str
    real: float | None


def collect_data(run: RunFolder) -> Forgettings:
    """Collect the dots. Raises MissingData where no label was to be forgotten."""
    found = list_forgetting(run)
    placed = list_dots((row.point, row.retained, row.probability) for row in found)
    if not placed:
        raise MissingData("no record holds `forget_probability` and `frechet_retained`")
    retrained = {point.name for point in run.plan.points if point.method == RETRAINED}
    styles = {
        name: as_star(one) if name in retrained else one for name, one in list_styles(run, by_point=False).items()
    }
    return Forgettings(placed, styles, distance_name(run), _real(found))


def _real(found: list[Forgetting]) -> float | None:
    """The rate on real images. Each point of a seed was judged beside the same ones, so the first will do."""
    return next((row.real.summary.mean for row in found if row.real is not None), None)


def plot(data: Forgettings, width: float = COLUMN) -> Figure:
    """Plot one panel."""
    drawn = figure(width, 2.6 if len(data.styles) <= MANY else 3.2)
    ax, axis = drawn.subplots(), build_axis(data.dots)
    plot_dots(ax, data.dots, data.styles, axis=axis)
    if data.real is not None:
        ax.axhline(data.real, color="0.45", linewidth=0.7, linestyle="--", zorder=1, label="real images")
    ax.axhline(FORGOTTEN, color="0.45", linewidth=0.7, linestyle=":", zorder=1, label=f"forgotten: {FORGOTTEN:g}")
    axis.apply(ax)
    ax.set(xlabel=f"{data.distance} on the retained labels", ylabel="forget probability")
    means = [dot.y.summary.mean for dot in data.dots]
    if min(means) > 0 and max(means) / min(means) > _CROWDED:
        log_ticks(ax)
        ax.set_ylim(min(means) / 2, max(1.15, ax.get_ylim()[1]) if max(means) > 0.5 else None)
    legend(drawn, entries([ax], (style.label for style in data.styles.values())))
    return drawn


def list_values(data: Forgettings) -> list[Values]:
    """The numbers of the figure."""
    return [dot_values(dot, "distance_retained", "forget_probability") for dot in data.dots]

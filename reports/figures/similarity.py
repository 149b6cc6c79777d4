"""Similarity of samples to the training images, beside that of held-out real images: the null of copying."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from ..reading.selection import copy_attacks, select_records
from ..reading.strongest import representative_points
from .canvas import COLUMN, PAGE, MissingData, entries, figure, legend, panel_grid, panels_across, strip_inner
from .styles import PointStyle, line_width, list_styles, turns
from .values import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Similarity of each sample to its nearest training image, all seeds together, over that of held-out real images "
    "(grey). At the threshold or beyond (dashed, one line a seed) a sample counts as a copy. "
    "Many defenses stand in several rows, each with the baseline."
)
_BINS = 40
_LEAST = 2.2  # inches of a panel


@dataclass(frozen=True)
class Similarity:
    """A replication attack: similarities by point, the null's, and the thresholds."""

    label: str
    samples: dict[str, np.ndarray]
    null: np.ndarray
    thresholds: list[float]


@dataclass(frozen=True)
class Similarities:
    """Data of the figure, a panel an attack."""

    panels: list[Similarity]
    styles: dict[str, PointStyle]


def collect_data(run: RunFolder) -> Similarities:
    """Collect the similarities. Raises MissingData where no replication attack kept its own."""
    panels = [_panel_data(run, attack, label) for attack, label in copy_attacks(run).items()]
    panels = [panel for panel in panels if panel.samples]
    if not panels:
        raise MissingData("no replication attack with raw similarities")
    return Similarities(panels, list_styles(run))


def _panel_data(run: RunFolder, attack: str, label: str) -> Similarity:
    records = {
        p.name: select_records(run, p, "replication", attack) for p in representative_points(run) if p.role != "control"
    }
    samples = {name: _joined(run, found, "similarity") for name, found in records.items()}
    every = [record for found in records.values() for record in found]
    thresholds = sorted({float(r.info["threshold"]) for r in every if r.info.get("threshold") is not None})
    null = next((n for found in records.values() if (n := _joined(run, found, "null_similarity")).size), np.empty(0))
    return Similarity(label, {name: values for name, values in samples.items() if values.size}, null, thresholds)


def _joined(run: RunFolder, records: list[Record], name: str) -> np.ndarray:
    found = [arrays[name].astype(np.float64).ravel() for r in records if name in (arrays := run.arrays(r))]
    joined = np.concatenate(found) if found else np.empty(0)
    return joined[np.isfinite(joined)]


def plot(data: Similarities, width: float | None = None) -> Figure:
    """Plot one panel an attack, side by side or one under the other; many defenses in several rows of them."""
    rows = turns((name for panel in data.panels for name in panel.samples), data.styles)
    width = width or (COLUMN if len(data.panels) == 1 else PAGE)
    across = panels_across(len(data.panels), width, _LEAST, len(rows))
    lines = len(rows) * -(-len(data.panels) // across)
    drawn = figure(width, 2.1 if lines == 1 else 1.8 * lines)
    grid = panel_grid(drawn, len(rows), len(data.panels), across, share_x="panel", share_y="panel")
    for names, axes in zip(rows, grid, strict=True):
        for ax, panel in zip(axes, data.panels, strict=True):
            _panel(ax, panel, names, data.styles)
    strip_inner(grid)
    legend(drawn, entries(ax for row in grid for ax in row), dashed=True)
    return drawn


def list_values(data: Similarities) -> list[Values]:
    """The numbers of the figure: the share of images in each bin, and the thresholds."""
    found: list[Values] = []
    for panel in data.panels:
        edges = _edges(panel)
        for name, values in {**panel.samples, "real images (null)": panel.null}.items():
            shares = np.histogram(values, edges)[0] / max(1, values.size)
            bins = zip(edges, edges[1:], shares, strict=False)
            found += [{"panel": panel.label, "of": name, "from": low, "to": up, "share": y} for low, up, y in bins]
        found += [{"panel": panel.label, "of": "threshold", "from": at, "to": at} for at in panel.thresholds]
    return found


def _edges(panel: Similarity) -> list[float]:
    everything = np.concatenate([*panel.samples.values(), panel.null, panel.thresholds])
    edges: list[float] = np.histogram_bin_edges(everything, bins=_BINS).tolist()
    return edges


def _panel(ax: Axes, panel: Similarity, names: list[str], styles: dict[str, PointStyle]) -> None:
    edges = _edges(panel)
    if panel.null.size:
        ax.hist(panel.null, edges, weights=_shares(panel.null), color="0.82", label="real images (null)")
    shown = {name: values for name, values in panel.samples.items() if name in names}
    for i, (name, values) in enumerate(shown.items()):
        its, weights = styles[name], _shares(values)
        options: dict[str, Any] = {"color": its.curve, "linestyle": its.dash, "linewidth": line_width(i, len(shown))}
        ax.hist(values, edges, weights=weights, histtype="step", label=name, **options)
    for threshold in panel.thresholds:
        ax.axvline(threshold, color="0.3", linewidth=0.7, linestyle="--", label="threshold")
    smallest = 0.5 / max(values.size for values in (*panel.samples.values(), panel.null))
    ax.set(yscale="log", title=panel.label)
    ax.set(xlabel="similarity to the nearest training image", ylabel="share of images")
    ax.set_ylim(bottom=smallest)


def _shares(values: np.ndarray) -> np.ndarray:
    return np.full(values.size, 1 / values.size)

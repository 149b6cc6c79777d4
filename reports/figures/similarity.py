"""Similarity of samples to the training images, beside that of held-out real images: the null of copying."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from ..reading.selection import copy_attacks, select_records
from ..reading.strongest import representative_points
from .canvas import COLUMN, PAGE, MissingData, entries, figure, legend
from .styles import PointStyle, line_width, list_styles, turns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Similarity of each sample to its nearest training image, all seeds together, over that of held-out real images "
    "(grey). At the threshold or beyond (dashed, one line a seed) a sample counts as a copy. "
    "Many defenses stand in several rows, each with the baseline."
)
_BINS = 40


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


def plot(data: Similarities) -> Figure:
    """Plot one panel an attack, side by side; many defenses in several rows of them."""
    rows = turns((name for panel in data.panels for name in panel.samples), data.styles)
    drawn = figure(COLUMN if len(data.panels) == 1 else PAGE, 2.1 if len(rows) == 1 else 1.8 * len(rows))
    grid = drawn.subplots(len(rows), len(data.panels), squeeze=False, sharex="col", sharey="col")
    for names, axes in zip(rows, grid, strict=True):
        for ax, panel in zip(axes, data.panels, strict=True):
            _panel(ax, panel, names, data.styles)
    for ax in grid[1:].flatten():
        ax.set_title("")
    for ax in grid[:-1].flatten():
        ax.set_xlabel("")
    legend(drawn, entries(grid.flatten()), dashed=len(rows) > 1)
    return drawn


def _panel(ax: Axes, panel: Similarity, names: list[str], styles: dict[str, PointStyle]) -> None:
    everything = np.concatenate([*panel.samples.values(), panel.null, panel.thresholds])
    edges = np.histogram_bin_edges(everything, bins=_BINS).tolist()
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

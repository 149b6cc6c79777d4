"""Samples beside their closest training images, most similar first: what copying looks like, protected or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from ..reading.replication import name_transforms
from ..reading.selection import copy_attacks, select_records
from ..reading.strongest import representative_points
from .canvas import PAGE, MissingData, figure
from .values import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "The samples most similar to a training image (upper rows) and those images (lower rows), with the similarity "
    "and, where transforms were searched over, the one between them; first seed. "
    "It shows training images: mind who may see it."
)
_COLUMNS = 10
_ROWS = 4
_GAP = 0.08  # of an image's width, between images


@dataclass(frozen=True)
class Block:
    """Pairs of a point, most similar first: images (K, H, W, 3) uint8, similarity (K,), and the transform between them
    in words, where the attack searched over some."""

    title: str
    samples: np.ndarray
    nearest: np.ndarray
    similarity: np.ndarray
    transforms: list[str] | None = None


def collect_data(run: RunFolder) -> list[Block]:
    """Collect the pairs of the first attack that kept images. Raises MissingData where none did."""
    for attack, label in copy_attacks(run).items():
        shown = [
            (p.name, select_records(run, p, "replication", attack))
            for p in representative_points(run)
            if p.role != "control"
        ]
        found = [_block(run, f"{name} (similarity in {label})", records[0]) for name, records in shown if records]
        blocks = [block for block in found if block is not None]
        if blocks:
            return blocks[:_ROWS]
    raise MissingData("no record holds images of pairs (a run with --no-images keeps none)")


def _block(run: RunFolder, title: str, record: Record) -> Block | None:
    arrays = run.arrays(record)
    if any(not arrays.get(name, np.empty(0)).size for name in ("pair_samples", "pair_nearest", "pair_similarity")):
        return None
    order = np.argsort(-arrays["pair_similarity"], kind="stable")[:_COLUMNS]
    samples, nearest = (_rgb(arrays[name][order]) for name in ("pair_samples", "pair_nearest"))
    told = name_transforms(record, arrays["pair_transforms"][order]) if "pair_transforms" in arrays else None
    return Block(title, samples, nearest, arrays["pair_similarity"][order], told)


def _rgb(images: np.ndarray) -> np.ndarray:
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images[..., :3]


def plot(data: list[Block], width: float = PAGE) -> Figure:
    """Plot a block of two rows for each point, one under the other; in one column of the page half as many pairs."""
    across = _COLUMNS if width == PAGE else _COLUMNS // 2
    share = 0.92 if width == PAGE else 0.84  # of the width; the rest holds the names of the rows
    shape = data[0].samples.shape
    tall = share * width / (across * (1 + _GAP)) * shape[1] / shape[2]  # inches of one image
    heights = [2.08 * tall + 0.48 + (0.22 * tall * (_lines(block) - 1)) for block in data]
    drawn = figure(width, sum(heights))
    axes = drawn.subplots(len(data), 1, squeeze=False, height_ratios=heights).flatten()
    for ax, block in zip(axes, data, strict=True):
        _plot_block(ax, block, across)
    return drawn


def _plot_block(ax: Axes, block: Block, columns: int) -> None:
    height, width = block.samples.shape[1:3]
    across, down, lines = width * (1 + _GAP), height * (1 + _GAP), _lines(block)
    for k, similarity in enumerate(block.similarity[:columns]):
        for row, image in enumerate((block.samples[k], block.nearest[k])):
            box = (k * across, k * across + width, row * down + height, row * down)
            ax.imshow(image, extent=box, interpolation="nearest")
        text = f"{similarity:.3f}".replace("-", "\N{MINUS SIGN}")
        if block.transforms is not None:
            text += "\n" + block.transforms[k].replace(", ", "\n")
        ax.text(k * across + width / 2, 2 * down, text, ha="center", va="top", fontsize=6)
    ax.set(xlim=(0, columns * across - width * _GAP), ylim=(2 * down + 0.22 * lines * height, 0))
    ax.set_title(block.title, loc="left")
    ax.set_yticks([height / 2, down + height / 2], ["sample", "training\nimage"])
    ax.tick_params(length=0)
    ax.set_xticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _lines(block: Block) -> int:
    """Lines of the text below a pair."""
    return 1 + max((told.count(",") + 1 for told in block.transforms or []), default=0)


def list_values(data: list[Block]) -> list[Values]:
    """The numbers of the figure."""
    return [
        {"of": block.title, "rank": k + 1, "similarity": similarity}
        | ({"transform": block.transforms[k]} if block.transforms else {})
        for block in data
        for k, similarity in enumerate(block.similarity)
    ]

"""How figures look and how they are written: the package's own style, whatever the user's settings, and fixed bytes."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from leakbench.records import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = Path(__file__).parents[1] / "leakbench.mplstyle"
COLUMN, PAGE = 3.3, 7.0  # inches: one column and both
_LINE = 0.16  # inches that a line of a legend takes
_LETTER, _HANDLE = 0.056, 0.46  # inches: a letter of a legend's label, and what stands before it


class Missing(Exception):
    """The records do not hold what a figure needs; says what."""


def styled() -> AbstractContextManager[None]:
    """The settings to draw and to save under."""
    import matplotlib

    return matplotlib.rc_context(fname=STYLE)


def figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches; needs no pyplot and no display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def entries(axes: Iterable[Axes]) -> dict[str, Artist]:
    """What a legend of these axes has to name, each label once."""
    return {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}


def legend(drawn: Figure, named: dict[str, Artist]) -> None:
    """A legend below the panels, in as many columns as fit; the figure grows by its lines, not the panels shrink."""
    width, height = drawn.get_size_inches()
    columns = min(len(named), max(1, int(width / (_LETTER * max(map(len, named)) + _HANDLE))))
    lines = -(-len(named) // columns)
    drawn.set_size_inches(width, height + _LINE * (lines + 0.5))
    drawn.legend(named.values(), named.keys(), loc="outside lower center", ncols=-(-len(named) // lines))


def save(drawn: Figure, folder: Path, name: str) -> list[Path]:
    """Writes NAME.png and NAME.pdf, without dates and versions: the same bytes from the same records."""
    metadata: dict[str, dict[str, str | None]] = {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": "leakbench", "Producer": "leakbench"},
    }
    written = []
    for ending, facts in metadata.items():
        buffer = io.BytesIO()
        drawn.savefig(buffer, format=ending, metadata=facts)
        write_atomically(folder / f"{name}.{ending}", buffer.getvalue())
        written.append(folder / f"{name}.{ending}")
    return written

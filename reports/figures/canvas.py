"""Style and files of figures: the package's own style whatever the user's settings, and the same bytes each time."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leakbench.runtime.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = Path(__file__).parent / "leakbench.mplstyle"
COLUMN, PAGE = 3.3, 7.0  # inches: one column and both
_LINE = 0.16  # inches that a line of a legend takes
_LETTER, _HANDLE = 0.056, 0.46  # inches: a letter of a legend's label, and what stands before it
_RESTS = "rests on the split"
_DASHES = 0.2  # inches more that a line takes whose dashes are to be seen


class MissingData(Exception):
    """Raised where the records do not hold what a figure needs; the message says what."""


def styled() -> AbstractContextManager[None]:
    """Settings to plot and to save under."""
    import matplotlib

    return matplotlib.rc_context(fname=STYLE)


def figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches; needs no pyplot and no display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def entries(axes: Iterable[Axes], first: Iterable[str] = ()) -> dict[str, Artist]:
    """Labels and handles for a legend of these axes, each label once: first those in `first`."""
    found = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    return {label: found[label] for label in dict.fromkeys([*first, *found]) if label in found}


def legend(drawn: Figure, named: dict[str, Artist], dashed: bool = False) -> None:
    """Add a legend below the panels, in as many columns as fit; the figure grows by its lines.

    `dashed`: its lines are long enough to tell dashes apart.
    """
    width, height = drawn.get_size_inches()
    handle = _HANDLE + (_DASHES if dashed else 0.0)
    columns = min(len(named), max(1, int(width / (_LETTER * max(map(len, named)) + handle))))
    lines = -(-len(named) // columns)
    drawn.set_size_inches(width, height + _LINE * (lines + 0.5))
    longer: dict[str, Any] = {"handlelength": 4.0} if dashed else {}
    drawn.legend(named.values(), named.keys(), loc="outside lower center", ncols=-(-len(named) // lines), **longer)


def log_ticks(ax: Axes) -> None:
    """Make the y axis logarithmic, with plain numbers at 1, 2 and 5."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def rests_on_split(ax: Axes) -> None:
    """Say of a panel that it compares members with nonmembers: where the track is void, it is stamped."""
    ax.set_gid(_RESTS)


def stamp_void(drawn: Figure) -> None:
    """Write VOID across every panel that rests on the split."""
    for ax in (ax for ax in drawn.axes if ax.get_gid() == _RESTS):
        options: dict[str, Any] = {"ha": "center", "va": "center", "rotation": 25, "fontsize": 26, "zorder": 20}
        ax.text(0.5, 0.5, "VOID", transform=ax.transAxes, color="#B00020", alpha=0.55, weight="bold", **options)


def save(drawn: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.png and NAME.pdf, without dates and versions: the same bytes from the same records."""
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

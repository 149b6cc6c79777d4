"""Style and files of figures: the package's own style whatever the user's settings, and the same bytes each time."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from leakbench.runtime.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = Path(__file__).parent / "leakbench.mplstyle"
COLUMN, PAGE = 3.25, 6.75  # inches: one column and both
_LINE = 0.16  # inches that a line of a legend takes
_LETTER, _HANDLE = 0.056, 0.46  # inches: a letter of a legend's label, and what stands before it
_RESTS = "rests on the split"
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": "leakbench", "Producer": "leakbench"},
    "svg": {"Date": None, "Creator": "leakbench"},
}
_CROWDED = 1.6  # inches of a panel of many
_DASHES = 0.2  # inches more that a line takes whose dashes are to be seen


Sharing = Literal["", "panel", "all"]  # of an axis: by none, by a panel's copies in other rows, by all


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


def panels_across(count: int, width: float, least: float, rows: int = 1) -> int:
    """The number of panels that stand side by side, each at least so many inches wide; less where several rows of them
    would else be taller than a page."""
    return max(1, min(count, int(width / (least if rows == 1 else min(least, _CROWDED)))))


def panel_grid(
    drawn: Figure, rows: int, count: int, across: int, share_x: Sharing = "", share_y: Sharing = ""
) -> list[list[Axes]]:
    """Rows of so many panels each, in as many lines as it takes with `across` of them side by side."""
    lines = -(-count // across)
    made = drawn.subplots(rows * lines, across, squeeze=False)
    found = [[made[row * lines + k // across, k % across] for k in range(count)] for row in range(rows)]
    for ax in (ax for ax in made.flatten() if not any(ax in row for row in found)):
        ax.set_axis_off()
    for number, row in enumerate(found):
        for k, ax in enumerate(row):
            _share(ax, found, (number, k), share_x, share_y)
            if share_x and number < rows - 1:
                ax.tick_params(labelbottom=False)
            if share_y == "all" and k % across:
                ax.tick_params(labelleft=False)
    return found


def strip_inner(grid: list[list[Axes]]) -> None:
    """Leave titles to the first row, and labels of the x axis to the last."""
    for number, row in enumerate(grid):
        for ax in row:
            if number:
                ax.set_title("")
            if number < len(grid) - 1:
                ax.set_xlabel("")


def _share(ax: Axes, grid: list[list[Axes]], place: tuple[int, int], share_x: Sharing, share_y: Sharing) -> None:
    first: dict[Sharing, Axes] = {"panel": grid[0][place[1]], "all": grid[0][0]}
    for share, join in ((share_x, ax.sharex), (share_y, ax.sharey)):
        if share and first[share] is not ax:
            join(first[share])


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


def save(drawn: Figure, folder: Path, name: str, endings: Iterable[str]) -> list[Path]:
    """Write the figure as NAME.png, NAME.pdf and so on, without dates and versions: the same bytes from the same
    records."""
    written = []
    drawn.draw_without_rendering()
    drawn.set_layout_engine("none")  # all formats have the layout that was found here
    for ending in endings:
        buffer = io.BytesIO()
        drawn.savefig(buffer, format=ending, metadata=_METADATA[ending])
        write_atomically(folder / f"{name}.{ending}", buffer.getvalue())
        written.append(folder / f"{name}.{ending}")
    return written

"""Whether copies are of one training image or of many: mode collapse, where a model returns one image over and over.

Told where some point copies beyond its null. A point is said to have collapsed where more than half of its samples copy
one image, by the interval (a choice of ours).
"""

from __future__ import annotations

from leakbench.results.run_folder import RunFolder

from .measured import summary_of
from .points import points
from .replication import copies
from .series import Series
from .words import bracket, percent, told

_SHARE = "most_copied_share"
_HALF = 0.5


def rows(run: RunFolder) -> list[Series]:
    """All that counted copies of one image, of every point; none where nothing was copied beyond chance."""
    found = [row for point in points(run) for row in copies(run, point) if row.found(_SHARE)]
    return found if any(_copied(row) for row in found) else []


def collapse_text(run: RunFolder) -> tuple[list[str], list[list[str]]]:
    """Titles and cells: a row a point and attack."""
    titles = ["point", "attack", "copies", "of the one image copied most", "training images copied"]
    return told(titles, [_cells(row) for row in rows(run)])


def collapsed(run: RunFolder) -> list[str]:
    """Points at which most samples copy one training image; where attacks do not agree, with those that say so."""
    every: dict[str, list[Series]] = {}
    for row in rows(run):
        every.setdefault(row.point.name, []).append(row)
    found = []
    for name, of_it in every.items():
        say = [row.attack for row in of_it if (share := row.found(_SHARE)) and share.summary.low > _HALF]
        if say:
            found.append(name if len(say) == len(of_it) else f"{name} (by {' and '.join(say)} alone)")
    return found


def _copied(row: Series) -> bool:
    excess = row.found("copy_rate_excess")
    return excess is not None and excess.summary.low > 0


def _cells(row: Series) -> list[str]:
    rate, share, unique = (summary_of(row.found(name)) for name in ("copy_rate", _SHARE, "unique_copies"))
    return [row.point.name, row.attack, percent(rate), percent(share), bracket(unique, 0)]

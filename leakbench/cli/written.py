"""Files that a command has written, in few lines."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def list_written(paths: Iterable[Path]) -> list[str]:
    """A line a folder, broken at 100 columns: `runs/quick/: results.csv, report.md`. Names with the same endings share
    them: `runs/quick/figures/: roc, gate (.png, .pdf)`."""
    from leakbench.reports.reading.width import prose_width
    from leakbench.reports.tables.columns import wrap

    folders: dict[Path, dict[str, list[str]]] = {}
    for path in paths:
        folders.setdefault(path.parent, {}).setdefault(path.stem, []).append(path.suffix)
    return [line for folder, names in folders.items() for line in wrap(f"{folder}/: {_join(names)}", prose_width())]


def _join(names: dict[str, list[str]]) -> str:
    by_endings: dict[tuple[str, ...], list[str]] = {}
    for name, endings in names.items():
        by_endings.setdefault(tuple(endings), []).append(name)
    said = []
    for shared, some in by_endings.items():
        if len(shared) == 1:
            said += [f"{name}{shared[0]}" for name in some]
        else:
            said.append(f"{', '.join(some)} ({', '.join(shared)})")
    return ", ".join(said)

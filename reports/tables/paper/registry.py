"""The tables of a run as LaTeX: tables/NAME.tex each, and tables/tables.tex, which shows all and compiles alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from leakbench.results.run_folder import RunFolder
from leakbench.runtime.files import write_atomically

from ...reading.shown import shows_column
from . import attacks, copies, fairness, forgetting, guarantees, tradeoff
from .escape import escape
from .render import PACKAGES, render
from .table import PaperTable

FOLDER = "tables"
TABLES: tuple[Callable[[RunFolder], PaperTable], ...] = (
    tradeoff.collect,
    attacks.collect,
    copies.collect,
    forgetting.collect,
    fairness.collect,
    guarantees.collect,
)
NAMES = ("tradeoff", "attacks", "copies", "forgetting", "fairness", "guarantees")

_DOCUMENT = r"""% All tables of a run, by leakbench: pdflatex tables.tex
\documentclass{article}
\usepackage[margin=2cm]{geometry}
\usepackage{PACKAGES}
\title{TITLE}
\date{}
\begin{document}
\maketitle
INPUTS
\end{document}
"""


def write_tex(run: RunFolder) -> list[Path]:
    """Write the tables that have something to say into tables/, and tables.tex of all that lie there.

    Of a whole run, a table that it no longer has is deleted; a part of a run leaves tables that it lacks as they are.
    """
    folder = run.path / FOLDER
    shown = {table.name: render(run, table) for table in list_tables(run)}
    if run.whole is run:
        for name in NAMES:
            if name not in shown:
                (folder / f"{name}.tex").unlink(missing_ok=True)
    written = [_write(folder / f"{name}.tex", text) for name, text in shown.items()]
    there = [name for name in NAMES if (folder / f"{name}.tex").is_file()]
    return [*written, _write(folder / "tables.tex", _document(run, there))]


def list_tables(run: RunFolder) -> list[PaperTable]:
    """The tables that have a row and a number, without columns that say nothing."""
    found = [_shown(run, collect(run).filled) for collect in TABLES]
    return [table for table in found if table.rows and table.columns]


def _shown(run: RunFolder, table: PaperTable) -> PaperTable:
    """The table with the columns that were chosen."""
    return replace(table, columns=tuple(column for column in table.columns if shows_column(run, column.name)))


def _document(run: RunFolder, names: list[str]) -> str:
    """A document of its own, in which no float waits for the next page."""
    inputs = "\n".join(f"\\input{{{name}}}\n\\clearpage" for name in names) or "No table has anything to say."
    text = _DOCUMENT.replace("PACKAGES", ",".join(PACKAGES)).replace("INPUTS", inputs)
    return text.replace("TITLE", escape(f"Suite {run.plan.suite or run.path.name}"))


def _write(path: Path, text: str) -> Path:
    write_atomically(path, text.encode("ascii"))
    return path

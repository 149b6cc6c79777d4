"""The recipes by name, and what a recipe writes: recipes/NAME.tex, .csv, and its figure at one and two columns."""

from __future__ import annotations

from pathlib import Path

from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError, nearest_name
from leakbench.runtime.files import write_atomically
from leakbench.statistics import Summary

from ..figures.canvas import MissingData, save, styled
from ..figures.registry import WIDTHS
from ..figures.values import Values, spread, write_values
from ..reading.formatting import NOTHING, drop_empty_columns
from ..tables.columns import fit_table, wrap
from ..tables.paper.render import render
from ..tables.paper.table import PaperTable, Row
from ..tables.paper.text import format_table
from . import cpsample, dpdm, erasediff, switching
from .recipe import OURS, Recipe

FOLDER = "recipes"
RECIPES = (
    Recipe("cpsample", "CPSample's similarity table and histogram", "cpsample_paper", cpsample.collect, cpsample.plot),
    Recipe("erasediff", "EraseDiff's table of forgetting", "erasediff_paper", erasediff.collect, erasediff.plot),
    Recipe("switching", "attribute switching's balance", "switching_paper", switching.collect, switching.plot),
    Recipe("dpdm", "DPDM's curve of FID against epsilon", "dpdm", dpdm.collect, dpdm.plot),
)


def find_recipe(name: str) -> Recipe:
    """The recipe of a name. Raises UsageError, with the nearest that there is."""
    found = {recipe.name: recipe for recipe in RECIPES}
    if name not in found:
        raise UsageError(f"unknown recipe {name!r}; {nearest_name(name, found)}")
    return found[name]


def collect_recipe(run: RunFolder, name: str) -> PaperTable:
    """The table of a recipe, without columns that say nothing. Raises UsageError where the run has no such system."""
    recipe = find_recipe(name)
    table = recipe.collect(run).filled
    if not table.rows:
        raise UsageError(f"{run.path}: no records for {recipe.title}; `leakbench run {recipe.suite}` makes them")
    return table


def write_recipe(run: RunFolder, name: str) -> list[Path]:
    """Write a recipe's table and figure into recipes/; no figure where the records hold no data for it."""
    recipe, table, folder = find_recipe(name), collect_recipe(run, name), run.path / FOLDER
    write_atomically(folder / f"{name}.tex", render(run, table).encode("ascii"))
    written = [folder / f"{name}.tex", write_values(folder / f"{name}.csv", list_values(table))]
    for ending, width in WIDTHS.items():
        try:
            with styled():
                written += save(recipe.plot(run, width), folder, f"{name}_{ending}", ("pdf", "svg", "png"))
        except MissingData:
            break
    return written


def list_values(table: PaperTable) -> list[Values]:
    """The numbers of a table, a row each."""
    return [
        {
            **dict(zip(table.heads, row.words, strict=True)),
            **{key: value for c in table.columns for key, value in spread(c.name, _found(row, c.name)).items()},
            "flags": ";".join(row.flags),
        }
        for row in table.rows
    ]


def _found(row: Row, column: str) -> Summary | None:
    cell = row.cells.get(column)
    return cell.found if cell else None


def format_recipe(run: RunFolder, name: str, width: int) -> list[str]:
    """A recipe's caption and table, in lines of at most `width` columns; rows of the paper alone are a table of their
    own."""
    table = collect_recipe(run, name)
    titles, cells = format_table(table)
    ours = [i for i, title in enumerate(titles) if title.startswith(f"{OURS}: ")]
    halves: dict[bool, list[list[str]]] = {}
    for row in cells:
        halves.setdefault(any(row[i] != NOTHING for i in ours), []).append(row)
    lines = wrap(table.caption, width, others="")
    for half in halves.values():
        lines += ["", *fit_table(*_drop_silent(titles, half), width)]
    return lines


def _drop_silent(titles: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without columns in which no cell says anything, empty ones among them."""
    return drop_empty_columns(titles, [[cell or NOTHING for cell in row] for row in rows])

"""`leakbench recipe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import VOID, app
from leakbench.cli.written import list_written
from leakbench.runtime.errors import UsageError


@app.command(
    help="""Make a paper's headline table and figure again from records, its numbers beside this run's.

    Without arguments it lists the recipes, with the suite that makes the records of each.

    \b
    Examples:
      leakbench recipe
      leakbench recipe cpsample runs/cpsample_paper
    """
)
def recipe(
    name: Annotated[str | None, typer.Argument(help="The recipe's name.")] = None,
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="The folder of a run.")] = None,
) -> None:
    from leakbench.interface.results import Results
    from leakbench.reports.reading.width import read_width
    from leakbench.reports.recipes.registry import RECIPES, find_recipe, format_recipe, write_recipe
    from leakbench.results.run_folder import open_run

    if name is None:
        for one in RECIPES:
            print(f"{one.name:10} {one.title} (leakbench run {one.suite})")
        return
    found = find_recipe(name)
    if folder is None:
        raise UsageError(f"recipe {name}: give the folder of a run; `leakbench run {found.suite}` makes one")
    run = open_run(folder)
    for line in [*format_recipe(run, name, read_width()), "", *list_written(write_recipe(run, name))]:
        print(line)
    if Results(run).void:
        raise typer.Exit(VOID)

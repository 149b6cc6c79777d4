"""`leakbench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import VOID, app
from leakbench.runtime.errors import UsageError


@app.command(
    help="""Write reports of a run.

    \b
    Examples:
      leakbench report runs/quick
      leakbench report runs/quick --format csv
      leakbench report runs/quick --format tex,figures
      leakbench report runs/quick runs/tour --page results.md
    """
)
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="The folders of runs.")],
    format: Annotated[
        str, typer.Option(help="Comma-separated: csv, drawings, figures, html, md, tex.")
    ] = "csv,drawings,md",
    page: Annotated[Path | None, typer.Option(help="Write one page of all these runs to this file instead.")] = None,
) -> None:
    from leakbench.interface.results import Results
    from leakbench.results.run_folder import open_run
    from leakbench.runtime import registry

    names = [name.strip() for name in format.split(",")]
    if "page" in names:
        raise UsageError("--format page: a page is of all the runs together: use --page FILE")
    runs = [open_run(folder) for folder in folders]
    if page:
        print(registry.find("reports", "page")(runs, page))
    for run in () if page else runs:
        for name in names:
            for path in registry.find("reports", name, "--format")(run):
                print(path)
    if any(Results(run).void for run in runs):
        raise typer.Exit(VOID)

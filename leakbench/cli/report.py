"""`leakbench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import app
from leakbench.errors import UsageError


@app.command(
    help="""Write reports of a run.

    \b
    Examples:
      leakbench report runs/quick
      leakbench report runs/quick --format csv
    """
)
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.")],
    format: Annotated[str, typer.Option(help="Comma-separated: csv, figures, md.")] = "csv,figures,md",
) -> None:
    from leakbench import plugins
    from leakbench.records import RunFolder

    if not (folder / "plan.json").is_file():
        raise UsageError(f"{folder}: not the folder of a run (it has no plan.json)")
    for name in format.split(","):
        for path in plugins.find("reports", name.strip(), "--format")(RunFolder(folder)):
            print(path)

"""`leakbench leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import VOID, app


@app.command(
    help="""Write a leaderboard of finished runs: a static site that opens from its folder.

    For each data set, network, access level and set of attacks one table of defenses, ranked by the strongest attack.
    Exit code 3 where the track of some run is void. docs/leaderboard.md says what it shows.

    \b
    Examples:
      leakbench leaderboard runs/quick --out site
      leakbench leaderboard runs/* --out site --verified verified.json
    """
)
def leaderboard(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="The folders of runs.")],
    out: Annotated[Path, typer.Option(help="The folder of the site.")],
    verified: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `leakbench check submission --record` wrote.")
    ] = None,
) -> None:
    from leakbench.interface.leaderboard import leaderboard as write
    from leakbench.interface.load import load

    results = [load(folder) for folder in folders]
    print(write(results, out, verified=verified))
    if any(one.void for one in results):
        raise typer.Exit(VOID)

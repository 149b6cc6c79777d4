"""`leakbench submit`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import app


@app.command(
    help="""Pack a run into one file, to submit it to a leaderboard. It holds no picture.

    docs/submit.md says what it reveals of the images that were trained on.

    \b
    Examples:
      leakbench submit runs/quick
      leakbench submit runs/quick --out quick.zip
    """,
)
def submit(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The file to write (default: DIR.zip).")] = None,
) -> None:
    from leakbench.interface.submission.check_plan import list_missing_cells
    from leakbench.interface.submission.pack import submit as pack
    from leakbench.interface.submission.packed_arrays import holds_own_images
    from leakbench.results.run_folder import open_run

    path = pack(folder, out)
    run = open_run(folder)
    plan = run.plan
    print(f"{path} ({path.stat().st_size / 2**20:.1f} MiB); plan.json in it holds your command and settings as typed")
    if missing := list_missing_cells(run):
        print(
            f"leakbench: incomplete: cells of its plan without a record: {len(missing)} (the first: {missing[0]}); "
            f"rows that lack one have no rank; `{plan.command_line or 'leakbench run'}` makes them",
            file=sys.stderr,
        )
    if holds_own_images(plan.dataset):
        print(
            f"its images may be your own ({plan.dataset}): whoever holds the weights as well can find out by the raw "
            "scores which images were trained on (docs/submit.md)"
        )

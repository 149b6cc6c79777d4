"""`leakbench diff`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import VOID, add_to_job_summary, app


class FailOn(StrEnum):
    """What `--fail-on` takes."""

    WORSE = "worse"


@app.command(
    help="""Say what moved beyond noise from one run to another, and what changed in plan, data, versions and code.

    Paired where seeds and images are shared; else the differences between seeds count as noise as well. All p values of
    the table are corrected together. Under GitHub Actions the page joins the job's summary. See docs/diff.md.

    \b
    Examples:
      leakbench diff runs/before runs/after
      leakbench diff runs/before runs/after --fail-on worse
    """,
)
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The folder of the earlier run.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The folder of the later run.")],
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            "--fail-on",
            help="Exit code 1 where something became worse, records are missing in NEW, or nothing was compared; "
            "3 where the track of NEW is void.",
        ),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="MD", help="Write a page in Markdown.")] = None,
) -> None:
    from leakbench.interface.load import load
    from leakbench.runtime.files import write_atomically

    found = load(old).diff(load(new))
    print(found.words, end="")
    if markdown:
        write_atomically(markdown, found.markdown.encode())
    add_to_job_summary(found.markdown)
    if fail_on is FailOn.WORSE:
        if found.is_worse or found.missing or not (found.has_compared or found.is_new_void):
            raise typer.Exit(1)
        if found.is_new_void:
            raise typer.Exit(VOID)

"""`leakbench claims`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import app
from leakbench.runtime.errors import UsageError

claims_app = typer.Typer(
    no_args_is_help=True, help="Write claims.\n\n\b\nExample:\n  leakbench claims init runs/quick > claims.toml"
)
app.add_typer(claims_app, name="claims")


@claims_app.callback()
def _group() -> None:
    """A group of commands, of which there is one so far."""


@claims_app.command(
    "init",
    help="""Write the claims that a run bears out, to edit and keep: `leakbench check claims` judges later runs by them.

    \b
    Examples:
      leakbench claims init runs/quick > claims.toml
    """,
)
def init_claims(folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]) -> None:
    from leakbench.reports.claims.support import format_claims, list_supported
    from leakbench.results.run_folder import open_run

    found = list_supported(open_run(folder))
    if not any(one.claim for one in found):
        raise UsageError(
            f"{folder}: bears out no claim: its track is void, its rows mean nothing, or it has no records"
        )
    print(format_claims(found), end="")

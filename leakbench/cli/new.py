"""`leakbench new`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from leakbench.cli.app import app


@app.command(
    help="""Write a working attack or defense to start from, and its conformance tests, into the current folder.

    \b
    Examples:
      leakbench new attack my_attack       writes my_attack.py and test_my_attack.py
      leakbench new defense my_defense
    """
)
def new(
    kind: Annotated[Literal["attack", "defense"], typer.Argument(help="What to write.")],
    name: Annotated[str, typer.Argument(help="Its name in suites: lower-case letters, digits and underscores.")],
) -> None:
    from leakbench.cli.scaffold import write_plugin

    plugin, test = write_plugin(kind, name, Path.cwd())
    print(f"{plugin}\n{test}")
    print(f"try it: leakbench check plugin {name} --plugin {plugin.name}")
    print(f"the same in CI: pytest {test.name}")

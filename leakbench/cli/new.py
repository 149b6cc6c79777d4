"""`leakbench new`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from leakbench.cli.app import app


@app.command(help="Write a working attack or defense to start from.\n\n\b\nExample:\n  leakbench new attack my_attack")
def new(
    kind: Annotated[Literal["attack", "defense"], typer.Argument()], name: Annotated[str, typer.Argument()]
) -> None:
    from leakbench.cli.scaffold import write

    path = write(kind, name, Path.cwd())
    print(f"{path}\ntry it: leakbench check plugin {name} --plugin {path.name}")

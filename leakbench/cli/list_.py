"""`leakbench list`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from leakbench.cli.app import PluginOption, app, load_plugins


@app.command(
    "list",
    help="""List attacks, defenses, data sets or suites by name, with one line on each.

    \b
    Examples:
      leakbench list attacks
      leakbench list suites
    """,
)
def list_(
    what: Annotated[Literal["attacks", "defenses", "datasets", "suites"], typer.Argument()], plugin: PluginOption = None
) -> None:
    from rich.console import Console
    from rich.table import Table

    from leakbench.runtime import registry
    from leakbench.suite.file import read_summary

    load_plugins(plugin)
    table, rows = Table(box=None, pad_edge=False), list[tuple[str, ...]]()
    if what == "suites":
        rows = [(name, read_summary(path)) for name, path in sorted(registry.suite_files().items())]
    elif what == "datasets":
        rows = [(name, (thing.__doc__ or "").splitlines()[0]) for name, thing in registry.load_all(what)]
    elif what == "attacks":
        rows = [(name, t.access.name, t.family, t.summary) for name, t in registry.load_all(what)]
    else:
        rows = [(name, thing.role, thing.summary) for name, thing in registry.load_all(what)]
    for heading in ("name", *{"attacks": ("access", "family"), "defenses": ("role",)}.get(what, ()), "summary"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)

"""`leakbench check`."""

from __future__ import annotations

from typing import Annotated

import typer

from leakbench.cli.app import PluginOption, app, load_plugins
from leakbench.runtime.errors import UsageError, nearest_name

check_app = typer.Typer(no_args_is_help=True, help="Check a plugin.\n\n\b\nExample:\n  leakbench check plugin pia")
app.add_typer(check_app, name="check")


@check_app.command(
    "plugin",
    help="Run the conformance suite on an attack or a defense.\n\n\b\nExample:\n  leakbench check plugin cpsample",
)
def check_plugin(name: Annotated[str, typer.Argument()], plugin: PluginOption = None) -> None:
    from leakbench.runtime import registry
    from leakbench.testing.conformance import check

    load_plugins(plugin)
    groups = [group for group in ("attacks", "defenses") if name in registry.names(group)]
    if not groups:
        known = [*registry.names("attacks"), *registry.names("defenses")]
        raise UsageError(f"unknown plugin {name!r}; {nearest_name(name, known)}")
    good = True
    for passed, words in check(registry.find(groups[0], name)):
        print(f"{'ok  ' if passed else 'FAIL'} {words}")
        good &= passed
    if not good:
        raise typer.Exit(1)

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
    help="""Run the conformance suite on an attack or a defense: one line a check, exit code 1 if one fails.

    A check that fails says on which line of the plugin, what was expected and what was got. The same checks as a pytest
    file: leakbench.testing.plugin_tests.

    \b
    Examples:
      leakbench check plugin cpsample
      leakbench check plugin my_attack --plugin my_attack.py
    """,
)
def check_plugin(
    name: Annotated[str, typer.Argument(help="Name of an attack or a defense.")], plugin: PluginOption = None
) -> None:
    from leakbench.runtime import registry
    from leakbench.testing import conformance

    load_plugins(plugin)
    groups = [group for group in ("attacks", "defenses") if name in registry.names(group)]
    if not groups:
        known = [*registry.names("attacks"), *registry.names("defenses")]
        raise UsageError(f"unknown plugin {name!r}; {nearest_name(name, known)}")
    passed = True
    for group in groups:
        for result in conformance.check_plugin(registry.find(group, name)):
            print(result, flush=True)
            passed &= result.passed
    if not passed:
        raise typer.Exit(1)

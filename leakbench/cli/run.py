"""`leakbench run`."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from leakbench.cli.app import PluginOption, app, command_line, load_plugins, one_thread_a_process


@app.command(
    help="""Run a suite: train what is missing, attack it, write tables and figures.

    \b
    Examples:
      leakbench run quick
      leakbench run my_suite.toml --plugin my_attack.py
      leakbench run quick --set defense.cpsample.alpha=0.1 --out runs/quick-alpha
      leakbench run quick --rerun failed
    """
)
def run(
    suite: Annotated[str, typer.Argument(help="A suite's name (leakbench list suites) or its .toml file.")],
    out: Annotated[str | None, typer.Option(help="Folder for the results (default: runs/SUITE).")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would be run, and stop.")] = False,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: one a core; 1 on CUDA).")] = None,
    rerun: Annotated[
        Literal["missing", "failed", "all"],
        typer.Option(help="Compute what has no record, only what failed last time, or all of it anew."),
    ] = "missing",
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change the suite.")] = None,
    plugin: PluginOption = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Keep no pictures of members.")] = False,
) -> None:
    one_thread_a_process()
    from leakbench.session import Session

    load_plugins(plugin)
    session = Session(
        suite, out, device=device, workers=workers, rerun=rerun, overrides=tuple(settings or ()), images=not no_images
    )
    if plan:
        session.print_plan()
        return
    try:
        done = session.run(command_line())
    except KeyboardInterrupt:
        print("leakbench: interrupted; what was finished is kept: run the same command to go on", file=sys.stderr)
        raise typer.Exit(130) from None
    if not done:
        raise typer.Exit(1)

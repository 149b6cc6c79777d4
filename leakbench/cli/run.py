"""`leakbench run`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from leakbench.cli.app import (
    CellLimitOption,
    PluginOption,
    WideOption,
    answer_interrupts,
    app,
    finish,
    one_thread_a_process,
)


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
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes (default: one a core, or one a CUDA device).")
    ] = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="This machine, or the running Ray cluster (docs/cluster.md).")
    ] = "local",
    rerun: Annotated[
        Literal["missing", "failed", "all"],
        typer.Option(
            help="Compute what has no record, only what failed last time, or all anew in place of what --out holds."
        ),
    ] = "missing",
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change the suite.")] = None,
    budget: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="MINUTES", help="Scale steps and samples down so that it takes no longer here."),
    ] = None,
    cell_limit: CellLimitOption = None,
    wide: WideOption = False,
    plugin: PluginOption = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave image files out that do not decode (as skip_broken = true).")
    ] = False,
    no_images: Annotated[bool, typer.Option("--no-images", help="Keep no pictures of members.")] = False,
) -> None:
    one_thread_a_process()
    with answer_interrupts():
        from leakbench.interface.run import prepare_suite

        prepared = prepare_suite(
            suite,
            out=out,
            device=device,
            workers=workers,
            executor=executor,
            rerun=rerun,
            settings=settings or (),
            budget=budget,
            cell_limit=cell_limit,
            plugins=plugin or (),
            skip_broken=skip_broken,
            images=not no_images,
        )
        finish(prepared, plan, wide)

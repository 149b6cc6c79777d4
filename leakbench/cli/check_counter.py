"""`leakbench check counter`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import VOID, PluginOption, load_plugins, one_thread_a_process
from leakbench.cli.check import check_app


@check_app.command(
    "counter",
    help="""Evaluate a stronger attack's scores that somebody files against a submission.

    It is asserted as long as there are scores alone. With --weights its plugin is run here, on the weights of the
    submission's run, and it is verified if it gives the same AUC: that runs a stranger's code, so read it first. Exit
    code 1 if something does not agree, 2 for what is no counter-evaluation, 3 where the submission's track is void.

    \b
    Examples:
      leakbench check counter my_counter --against quick.zip
      leakbench check counter my_counter --against quick.zip --weights runs/quick --record verified.json
    """,
)
def check_counter(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Its folder: counter.toml, scores.npz.")],
    against: Annotated[Path, typer.Option(metavar="PATH", help="The submission that it is against.")],
    weights: Annotated[
        Path | None, typer.Option(metavar="RUN", help="The submission's run on this machine: run the plugin again.")
    ] = None,
    record: Annotated[Path | None, typer.Option(metavar="FILE", help="Add it to this file, for leaderboards.")] = None,
    plugin: PluginOption = None,
) -> None:
    one_thread_a_process()
    from leakbench.interface.submission.counter_check import check_counter as check
    from leakbench.interface.submission.findings import printable

    load_plugins(plugin)
    found = check(path, against, weights=weights, record=record)
    for line in found.findings.disagreements:
        print(f"disagrees: {line}")
    if found.findings.disagreements:
        raise typer.Exit(1)
    for one in found.entry.metrics:
        interval = "" if one.ci_low is None else f" [{one.ci_low:.4g}, {one.ci_high:.4g}]"
        print(f"{one.name} {one.value:.4g}{interval}, n {one.n}")
    for reason in found.void:
        print(f"void: {reason}")
    entry = found.entry
    words = "stronger than" if found.is_stronger else "not shown to be stronger than"
    line = (
        f"{entry.kind}: {entry.attack} at {entry.access} against {entry.point}, seed {entry.seed}: lower bound "
        f"{entry.lower_bound:.3f}, {words} the submission's own attacks ({found.own:.3f})"
    )
    print(printable(line))
    if found.void:
        raise typer.Exit(VOID)

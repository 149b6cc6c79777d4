"""The application that the commands join, its global options, and what commands have in common."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leakbench.cli.lines import print_lines
from leakbench.runtime.errors import to_printable

if TYPE_CHECKING:
    from leakbench.runner.run import Execution, Run

VOID = 3  # exit code: all was done, and the track is void

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""Privacy audits of diffusion models: defenses against attacks, and the trade-off between them.

    \b
    Examples:
      leakbench run quick                          a whole audit in one to three minutes, into runs/quick/
      leakbench run quick --plan                   what would be run, and stop
      leakbench run quick --set dataset=npz:my.npz --out runs/mine
      leakbench report runs/quick                  write tables and figures again
      leakbench recipe cpsample runs/cpsample_paper   a paper's table beside the run's numbers
      leakbench why runs/quick                     what would be made again, and why
      leakbench audit my_pipeline --members train/ --nonmembers heldout/
      leakbench diff runs/before runs/after        what moved beyond noise
      leakbench rerun runs/quick/records/NAME.json   one record made again, and compared
      leakbench clean                              what lies in the cache, and trim it
      leakbench power                              how many images a wanted interval needs
      leakbench score my_scores.npz                the same treatment for scores of your own
      leakbench submit runs/quick                  pack a run, for a leaderboard
      leakbench new attack my_attack               a working attack to start from
      leakbench doctor                             what this machine can run
    """,
)

WideOption = Annotated[bool, typer.Option("--wide", help="Print the table with all its columns.")]
CellLimitOption = Annotated[
    float | None,
    typer.Option(
        "--cell-limit", min=0.01, metavar="MINUTES", help="What a training or the audit of a release may take."
    ),
]
PluginOption = Annotated[list[Path] | None, typer.Option("--plugin", help="A Python file with attacks or defenses.")]


@app.callback()
def _global(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
) -> None:
    if debug:
        os.environ["LEAKBENCH_DEBUG"] = "1"
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"


def one_thread_a_process() -> None:
    """Before numpy and torch are imported: their thread pools would fight over the cores that the workers share."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def load_plugins(files: list[Path] | None) -> None:
    from leakbench.runtime import registry

    for file in files or ():
        registry.load_file(file)


def add_to_job_summary(page: str) -> None:
    """Append a page in Markdown to the summary of a GitHub Actions job; elsewhere do nothing."""
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(f"{page}\n")


class Terminated(KeyboardInterrupt):
    """SIGTERM: what a batch system or `kill` sends. It ends a run as Ctrl-C does."""


@contextmanager
def tidy_on_sigterm() -> Iterator[None]:
    """End inside on SIGTERM with one line and exit code 143: temporary folders are removed on the way out."""

    def leave(number: int, frame: object) -> None:
        print("leakbench: terminated", file=sys.stderr)
        raise SystemExit(143)

    if threading.current_thread() is not threading.main_thread():  # no signal arrives there
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


GO_ON = "what was finished is kept: run the same command to go on"


@contextmanager
def answer_interrupts(then: str = GO_ON) -> Iterator[None]:
    """Answer Ctrl-C (exit code 130) and SIGTERM (143) inside by one line that says how to go on."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        ended, code = ("terminated", 143) if isinstance(interrupt, Terminated) else ("interrupted", 130)
        print(f"leakbench: {ended}; {then}", file=sys.stderr)
        raise typer.Exit(code) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def finish(run: Run, plan: bool, wide: bool = False) -> None:
    """Execute a run and print its table (`wide`: with all columns), or print its `plan`. Exit code 1 where something
    failed, `VOID` where its track is void."""
    from leakbench.runtime import distributed

    if plan:
        print_lines(run.describe())
        return
    prints = distributed.rank() == 0
    execution = run.execute(command_line())
    if prints:
        _print_results(run.out, execution, wide)
    for failure in execution.failures.values():
        print(f"leakbench: failed: {to_printable(failure)}", file=sys.stderr)
    if execution.failures:
        raise typer.Exit(1)
    if prints:  # of a group the first process, when all records are there
        from leakbench.interface.load import load

        if load(run.out).void:
            raise typer.Exit(VOID)


def _print_results(out: Path, execution: Execution, wide: bool) -> None:
    """Print the trade-off table of a run, and a line that says what lies in its folder."""
    from leakbench.reports.tables.terminal import print_table
    from leakbench.results.run_folder import RunFolder

    print_table(RunFolder(out), wide)
    foreseen = "" if execution.foreseen is None else f" of about {execution.foreseen:.0f} s foreseen"
    print(f"{out}/report.md, verdicts.csv, results.csv, figures/ ({execution.seconds:.0f} s{foreseen})")


def command_line() -> str:
    """The command as typed, for the record: program name without its path."""
    import shlex

    return shlex.join(["leakbench", *sys.argv[1:]])

"""The command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from leakbench.errors import UsageError, nearest_name

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""Privacy audits of diffusion models: defenses against attacks, and the trade-off between them.

    \b
    Examples:
      leakbench run quick                          a whole audit in three minutes, into runs/quick/
      leakbench run quick --plan                   what would be run, and stop
      leakbench run quick --set dataset=npz:my.npz --out runs/mine
      leakbench report runs/quick                  write tables and figures again
      leakbench power                              how many images a wanted interval needs
      leakbench score my_scores.npz                the same treatment for scores of your own
      leakbench new attack my_attack               a working attack to start from
      leakbench doctor                             what this machine can run
    """,
)
check_app = typer.Typer(no_args_is_help=True, help="Check a plugin.\n\n\b\nExample:\n  leakbench check plugin pia")
app.add_typer(check_app, name="check")

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
    _one_thread_a_process()
    from leakbench.session import Session

    _load(plugin)
    session = Session(
        suite, out, device=device, workers=workers, rerun=rerun, overrides=tuple(settings or ()), images=not no_images
    )
    if plan:
        session.print_plan()
        return
    try:
        done = session.run(_command())
    except KeyboardInterrupt:
        print("leakbench: interrupted; what was finished is kept: run the same command to go on", file=sys.stderr)
        raise typer.Exit(130) from None
    if not done:
        raise typer.Exit(1)


@app.command("list", help="List what is there.\n\n\b\nExamples:\n  leakbench list attacks\n  leakbench list suites")
def list_(
    what: Annotated[Literal["attacks", "defenses", "datasets", "suites"], typer.Argument()], plugin: PluginOption = None
) -> None:
    from rich.console import Console
    from rich.table import Table

    from leakbench import plugins
    from leakbench.suite import describe

    _load(plugin)
    table, rows = Table(box=None, pad_edge=False), list[tuple[str, ...]]()
    if what == "suites":
        rows = [(name, describe(path)) for name, path in sorted(plugins.suite_files().items())]
    elif what == "datasets":
        rows = [(name, (thing.__doc__ or "").splitlines()[0]) for name, thing in plugins.all_of(what)]
    elif what == "attacks":
        rows = [(name, t.access.name, t.family, t.summary) for name, t in plugins.all_of(what)]
    else:
        rows = [(name, thing.role, thing.summary) for name, thing in plugins.all_of(what)]
    for heading in ("name", *{"attacks": ("access", "family"), "defenses": ("role",)}.get(what, ()), "summary"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


@app.command(
    help="Print one record.\n\n\b\nExample:\n  leakbench show runs/quick/records/baseline__pia__DENOISER__seed0.json"
)
def show(record: Annotated[Path, typer.Argument(help="A file under DIR/records.")]) -> None:
    from rich.console import Console

    from leakbench.records import read_record
    from leakbench.session import record_tables

    if not record.is_file():
        raise UsageError(f"{record}: no such file; records are the .json files under DIR/records")
    for table in record_tables(read_record(record)):
        Console().print(table)


@app.command(
    help="""Write reports of a run.

    \b
    Examples:
      leakbench report runs/quick
      leakbench report runs/quick --format csv
    """
)
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.")],
    format: Annotated[str, typer.Option(help="Comma-separated: csv, figures, md.")] = "csv,figures,md",
) -> None:
    from leakbench import plugins
    from leakbench.records import RunFolder

    if not (folder / "plan.json").is_file():
        raise UsageError(f"{folder}: not the folder of a run (it has no plan.json)")
    for name in format.split(","):
        for path in plugins.find("reports", name.strip(), "--format")(RunFolder(folder)):
            print(path)


@app.command(
    help="""Say how many nonmembers, and as many members, a wanted number needs.

    \b
    Examples:
      leakbench power
      leakbench power --auc 0.55 --half-width 0.01
      leakbench power --fpr 0.001 --tpr 0.05
    """
)
def power(
    auc: Annotated[float, typer.Option(help="The AUC to plan for, in (0.5, 1).")] = 0.6,
    half_width: Annotated[float, typer.Option(help="Half the width of the 95 % interval, in (0, 0.5).")] = 0.02,
    fpr: Annotated[float, typer.Option(help="The FPR at which a TPR is reported, in (0, 0.5).")] = 0.01,
    tpr: Annotated[float, typer.Option(help="The TPR to plan for, between the FPR and 1.")] = 0.3,
) -> None:
    wanted = {
        "auc": (auc, 0.5, 1.0),
        "half-width": (half_width, 0.0, 0.5),
        "fpr": (fpr, 0.0, 0.5),
        "tpr": (tpr, fpr, 1.0),
    }
    for name, (value, low, high) in wanted.items():
        if not low < value < high:
            raise UsageError(f"--{name} {value:g}: must lie between {low:g} and {high:g}")
    from rich.console import Console

    from leakbench.power_tables import tables

    for table in tables(auc, half_width, fpr, tpr):
        Console().print(table)


@app.command(
    help="""Give scores from a script of your own the same treatment as an attack's: AUC, TPR, verdicts, flags.

    \b
    Examples:
      leakbench score my_scores.npz
    The file holds member_scores and nonmember_scores (or scores and member), higher = more likely a member;
    optional: calibration_member_scores and calibration_nonmember_scores, member_labels and nonmember_labels.
    """
)
def score(file: Annotated[Path, typer.Argument(metavar="FILE.npz", help="Scores, one number an image.")]) -> None:
    _one_thread_a_process()
    from rich.console import Console

    from leakbench.scores import read_scores

    scores = read_scores(file)
    from leakbench.score_tables import tables

    for table in tables(scores):
        Console().print(table)
        print()


@check_app.command(
    "plugin",
    help="Run the conformance suite on an attack or a defense.\n\n\b\nExample:\n  leakbench check plugin cpsample",
)
def check_plugin(name: Annotated[str, typer.Argument()], plugin: PluginOption = None) -> None:
    from leakbench import plugins
    from leakbench.conformance import check

    _load(plugin)
    groups = [group for group in ("attacks", "defenses") if name in plugins.names(group)]
    if not groups:
        known = [*plugins.names("attacks"), *plugins.names("defenses")]
        raise UsageError(f"unknown plugin {name!r}; {nearest_name(name, known)}")
    good = True
    for passed, words in check(plugins.find(groups[0], name)):
        print(f"{'ok  ' if passed else 'FAIL'} {words}")
        good &= passed
    if not good:
        raise typer.Exit(1)


@app.command(help="Write a working attack or defense to start from.\n\n\b\nExample:\n  leakbench new attack my_attack")
def new(
    kind: Annotated[Literal["attack", "defense"], typer.Argument()], name: Annotated[str, typer.Argument()]
) -> None:
    from leakbench.scaffold import write

    path = write(kind, name, Path.cwd())
    print(f"{path}\ntry it: leakbench check plugin {name} --plugin {path.name}")


@app.command(
    help="Say what this machine can run, what is missing and how to get it.\n\n\b\nExample:\n  leakbench doctor"
)
def doctor() -> None:
    from leakbench.doctor import findings

    for state, words in findings():
        print(f"{state:<8} {words}")


def _one_thread_a_process() -> None:
    """Before numpy and torch are imported: their thread pools would fight over the cores that the workers share."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def _load(files: list[Path] | None) -> None:
    from leakbench import plugins

    for file in files or ():
        plugins.load_file(file)


def _command() -> str:
    """The command as typed, for the record: program name without its path."""
    import shlex

    return shlex.join(["leakbench", *sys.argv[1:]])


def main() -> Any:
    """Entry point. Wrong usage: one line, exit code 2."""
    try:
        return app(standalone_mode=True)
    except UsageError as error:
        if os.environ.get("LEAKBENCH_DEBUG"):
            raise
        print(f"leakbench: {' '.join(str(error).splitlines())}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if os.environ.get("LEAKBENCH_DEBUG"):
            raise
        print(f"leakbench: {error}; what was finished is kept: run the same command to go on", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()

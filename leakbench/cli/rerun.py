"""`leakbench rerun`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from leakbench.cli.app import PluginOption, answer_interrupts, app, load_plugins, one_thread_a_process

if TYPE_CHECKING:
    from leakbench.runner.record_comparison import ComparedNumber


@app.command(
    help="""Make one record of a run again, its training included, and compare all of its numbers.

    What it takes is the record and the plan.json of its run; all is made in a temporary folder. Data that differ end
    it; code, versions or a device that differ are named, and it goes on. Exit code 0 if each number is the same, or no
    farther away than its 95 % interval explains; 1 if one differs. See docs/reproducibility.md.

    \b
    Examples:
      leakbench rerun runs/quick/records/baseline__pia__DENOISER__seed0.json
      leakbench rerun runs/mine/records/baseline__quality__SAMPLES__seed0.json --set dataset=npz:/data/mine.npz
    """
)
def rerun(
    record: Annotated[Path, typer.Argument(help="A file under DIR/records.")],
    cached: Annotated[
        bool, typer.Option("--cached", help="Take trainings and samples from the cache where they are the same.")
    ] = False,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: as in `leakbench run`).")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Where the data lie here: dataset=...")
    ] = None,
    plugin: PluginOption = None,
) -> None:
    one_thread_a_process()
    with answer_interrupts("nothing is kept"):
        from leakbench.reports.reading.width import prose_width
        from leakbench.reports.tables.columns import wrap
        from leakbench.runner.process import place_run, start_process
        from leakbench.runner.rerun import NotMade, open_rerun

        load_plugins(plugin)
        placement = place_run(start_process(device), workers, "local")
        with open_rerun(record, placement, cached, tuple(settings or ())) as planned:
            if planned.changed:
                more = [f"and {rest} more"] if (rest := len(planned.changed) - _SHOWN) > 0 else []
                words = ", ".join([*planned.changed[:_SHOWN], *more])
                print("\n".join(wrap(f"not as it was: {words}", prose_width())), flush=True)
            try:
                made = planned.make()
            except NotMade as error:
                print(f"leakbench: failed: {error}", file=sys.stderr)
                raise typer.Exit(1) from None
        print_numbers(made.numbers)
        counts = [f"{made.count(outcome)} {words}" for outcome, words in _WORDS.items()]
        print(f"{'agrees' if made.agrees else 'differs'}: {', '.join(counts)} ({made.seconds:.0f} s)")
        if not made.changed and (moved := len(made.numbers) - made.count("same")):
            print(f"nothing that it rests on has changed here, and {moved} numbers are not the same to the bit")
        if not made.agrees:
            raise typer.Exit(1)


_SHOWN = 6  # differences
_WORDS = {"same": "the same", "within tolerance": "within tolerance", "differs": "differ"}


def print_numbers(numbers: tuple[ComparedNumber, ...]) -> None:
    """Print a line for each number."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("metric", "recorded", "again", "tolerance", ""):
        table.add_column(heading, overflow="fold")
    for one in numbers:
        tolerance = f"{one.tolerance:.2g}" if one.tolerance else ""
        table.add_row(one.name, _word(one.recorded), _word(one.again), tolerance, one.outcome)
    Console(markup=False, emoji=False).print(table)


def _word(value: object) -> str:
    from leakbench.runtime.errors import to_printable

    if value is None or value == "":
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else to_printable(str(value))

"""`leakbench clean`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leakbench.cli.app import app
from leakbench.cli.quantities import format_size, parse_age, parse_size

if TYPE_CHECKING:
    from leakbench.runner.clean import CleanPlan


@app.command(
    help="""Show what lies in the artefact cache, and remove what has not been used for long.

    Nothing is removed without --yes. Networks, samples, features and packed images are made again by the run that needs
    them. Weights and data sets that were fetched stay, and so does what a process works on, or a run has used since it
    began. Of folders of runs, what they have set aside in superseded/ is counted in. Of a shared cache, copies on this
    machine go, and nothing at its URL.

    \b
    Examples:
      leakbench clean
      leakbench clean --older-than 30d
      leakbench clean --keep 20GB --yes
      leakbench clean runs/quick --older-than 0d --yes
    """
)
def clean(
    runs: Annotated[list[Path] | None, typer.Argument(metavar="[RUN]...", help="Folders of runs.")] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Remove what was not used for so long: 90m, 12h, 30d, 4w.")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Remove what was used least recently until so much is left: 20GB."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else say what would be removed.")] = False,
) -> None:
    import time

    from leakbench.runner.clean import execute_clean, plan_clean
    from leakbench.runtime.cache.location import cache_root

    age = None if older_than is None else parse_age("--older-than", older_than)
    size = None if keep is None else parse_size("--keep", keep)
    plan = plan_clean(cache_root(), runs or (), time.time(), age, size)
    _print_contents(plan)
    spared = dict(plan.spared)
    if yes and plan.chosen:
        gone, late = execute_clean(plan)
        print(f"removed {format_size(sum(one.bytes for one in gone))} in {len(gone)} folders")
        spared |= late
    elif plan.chosen:
        print(f"would remove {format_size(plan.bytes)} in {len(plan.chosen)} folders; --yes does it")
    else:
        print("nothing to remove" if age is not None or size is not None else "--older-than or --keep say what may go")
    for path, reason in spared.items():
        print(f"left {path}: {reason}")


def _print_contents(plan: CleanPlan) -> None:
    from rich.console import Console
    from rich.table import Table

    from leakbench.runtime.cache.contents import measure_kept

    table = Table(box=None, pad_edge=False)
    for heading in ("kind", "folders", "size", "to remove"):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for kind in dict.fromkeys(item.kind for item in plan.items):
        there, chosen = ([one for one in group if one.kind == kind] for group in (plan.items, plan.chosen))
        sizes = [format_size(sum(one.bytes for one in group)) for group in (there, chosen)]
        table.add_row(kind, str(len(there)), sizes[0], sizes[1] if chosen else "")
    for name, count in measure_kept(plan.root).items():
        table.add_row(name, "", format_size(count), "stays")
    console = Console(markup=False, emoji=False)
    print(plan.root)
    console.print(table)

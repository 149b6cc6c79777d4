"""`leakbench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import VOID, WideOption, app
from leakbench.cli.written import list_written
from leakbench.runtime.errors import UsageError

_WHOLE = "terminal,csv,drawings,md"
_PAPER = "tex,figures"
_CHOICES = {  # what can be chosen of a format; all others show the whole run
    "tex": ("points", "attacks", "columns"),
    "figures": ("points", "attacks", "columns"),
    "model-card": ("points",),
}


@app.command(
    help="""Print the table of a run, and write its reports.

    \b
    Examples:
      leakbench report runs/quick
      leakbench report runs/quick --wide
      leakbench report runs/quick --format csv
      leakbench report runs/quick --format tex,figures
      leakbench report runs/quick --points baseline,cpsample --columns frechet_heldout,denoiser_auc
      leakbench report runs/quick runs/tour --page results.md
    """
)
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="The folders of runs.")],
    format: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: csv, drawings, figures, html, jsonl, md, model-card, terminal, tex (default: "
            "terminal,csv,drawings,md; with a choice of what is shown: tex,figures)."
        ),
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write one page of all these runs to this file instead.")] = None,
    points: Annotated[
        list[str] | None, typer.Option(metavar="NAMES", help="Show these points or defenses alone, in tex and figures.")
    ] = None,
    attacks: Annotated[list[str] | None, typer.Option(metavar="NAMES", help="Show these attacks alone.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option(metavar="NAMES", help="Show these columns of tables and panels alone.")
    ] = None,
    wide: WideOption = False,
) -> None:
    from leakbench.interface.results import Results
    from leakbench.interface.shown import choose_shown
    from leakbench.results.run_folder import open_run
    from leakbench.runtime import registry
    from leakbench.runtime.progress import progress

    choice = {"points": _split(points), "attacks": _split(attacks), "columns": _split(columns)}
    chosen = [name for name, names in choice.items() if names is not None]
    names = [name.strip() for name in (format or (_PAPER if chosen else _WHOLE)).split(",")]
    if "page" in names:
        raise UsageError("--format page: a page is of all the runs together: use --page FILE")
    if wide and "terminal" not in names:
        raise UsageError("--wide is for the table on the terminal: add terminal to --format")
    if chosen and (page or not any(set(chosen) & set(_CHOICES.get(name, ())) for name in names)):
        raise UsageError(f"--{chosen[0]} chooses what --format tex and figures show; ask for one of them")
    runs = [open_run(folder) for folder in folders]
    if page:
        with progress(f"writing the page of {len(runs)} runs"):
            print(registry.find("reports", "page")(runs, page))
    for run in () if page else runs:
        written: list[Path] = []
        for name in names:
            shown = choose_shown(run, **{option: choice[option] for option in _CHOICES.get(name, ())})
            options = {"wide": wide} if name == "terminal" else {}
            with progress(f"writing {name} of {run.path}"):
                written += registry.find("reports", name, "--format")(shown, **options)
        for line in list_written(written):
            print(line)
    if any(Results(run).void for run in runs):
        raise typer.Exit(VOID)


def _split(options: list[str] | None) -> list[str] | None:
    """The names of an option that may be given several times, each time with commas between names."""
    if options is None:
        return None
    return [name.strip() for option in options for name in option.split(",") if name.strip()]

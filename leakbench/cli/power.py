"""`leakbench power`."""

from __future__ import annotations

from typing import Annotated

import typer

from leakbench.cli.app import app
from leakbench.runtime.errors import UsageError


@app.command(
    help="""Say how many nonmembers, and as many members, a wanted number needs.

    \b
    Examples:
      leakbench power
      leakbench power --auc 0.55 --half-width 0.01
      leakbench power --fpr 0.001 --tpr 0.05
      leakbench power --groups 40 --images-per-group 5 --correlation 0.5
    """
)
def power(
    auc: Annotated[float, typer.Option(help="The AUC to plan for, in (0.5, 1).")] = 0.6,
    half_width: Annotated[float, typer.Option(help="Half the width of the 95 % interval, in (0, 0.5).")] = 0.02,
    fpr: Annotated[float, typer.Option(help="The FPR at which a TPR is reported, in (0, 0.5).")] = 0.01,
    tpr: Annotated[float, typer.Option(help="The TPR to plan for, between the FPR and 1.")] = 0.3,
    images_per_group: Annotated[
        float | None, typer.Option(min=1, help="Images of each person or scene, where there are several.")
    ] = None,
    correlation: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of scores within a group (default: 1, groups are counted).")
    ] = None,
    groups: Annotated[int | None, typer.Option(min=1, help="What so many groups a side give, alone.")] = None,
) -> None:
    if images_per_group is None and (correlation is not None or groups is not None):
        option = f"--correlation {correlation:g}" if correlation is not None else f"--groups {groups}"
        raise UsageError(f"{option}: is of images in groups: give --images-per-group as well")
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

    from leakbench.cli.power_tables import tables
    from leakbench.statistics import GroupSizes

    grouped = None
    if images_per_group is not None:
        grouped = GroupSizes(images_per_group, 1.0 if correlation is None else correlation)
    for table in tables(auc, half_width, fpr, tpr, grouped, groups):
        Console().print(table)

"""Trainings that an audit of a given model takes: what a defense around it has to learn of the members."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from leakbench.api import as_pretrained
from leakbench.measurement.inputs import RunInputs
from leakbench.runner.cell import Cell
from leakbench.runner.description import describe_time
from leakbench.runner.estimate.time_estimate import TimeEstimate


def describe_trainings(inputs: RunInputs, cells: list[Cell], times: Callable[[], TimeEstimate]) -> Iterator[str]:
    """A line for each fit that trains on top of a given model, with its minutes on this machine by `times`, which is
    asked for where there is one."""
    training = [cell for cell in cells if cell.trains and as_pretrained(cell.chain[0].defense) is not None]
    for cell in training:
        link, seconds = cell.chain[-1], times().estimate_cell(inputs, cell)
        sizes = {key: getattr(link.defense, key, None) for key in (*link.defense.cost().budget_params, "batch")}
        said = ", ".join(f"{key} = {value}" for key, value in sizes.items() if value is not None)
        takes = f"about {describe_time(seconds)}; less with --set defense.{link.id}.{next(iter(sizes))}=N"
        yield f"{link.id} trains on the members before anything is measured ({said}): {takes}"

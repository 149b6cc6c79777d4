"""Keeps the speeds that a run showed, for later estimates: seconds of a network's call while samples were drawn."""

from __future__ import annotations

from collections.abc import Iterable

from leakbench.api import as_pretrained
from leakbench.measurement.inputs import RunInputs
from leakbench.models.work import count_spec_work
from leakbench.results.record import QUALITY
from leakbench.results.run_folder import RunFolder
from leakbench.runner.cell import Cell
from leakbench.runner.estimate.speeds import keep_speed
from leakbench.runtime.batch_sizes import filled_rows

_LEAST = 5.0  # seconds of sampling: below, imports and first calls take most of them


def keep_speeds(inputs: RunInputs, cells: Iterable[Cell]) -> None:
    """Keep the speed of every network whose samples these cells have drawn."""
    file = inputs.suite.file
    drawn = {(cell.point.label, cell.seed): cell for cell in cells if cell.kind == "audit" and cell.point}
    for record in RunFolder(inputs.config.out).records:
        cell = drawn.get((record.point, record.seed))
        seconds = record.run.timings.get("sample", 0.0)
        if cell is None or record.attack != QUALITY or seconds < _LEAST:
            continue
        guided = 1.0 + sum(link.defense.cost().extra_per_step for link in cell.chain)
        calls = filled_rows(file.quality.samples, file.sampler.batch) * file.sampler.steps * guided
        model = as_pretrained(cell.chain[0].defense)
        work = model.work() if model is not None else count_spec_work(inputs.network(inputs.condition(cell.chain)))
        if work is not None and work.effective:
            keep_speed(inputs.device.type, work.effective, seconds / calls)

"""Names of the attacks that should have records at a point, by the plan and by what its records say of images."""

from __future__ import annotations

from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint


def list_asked(run: RunFolder, point: PlannedPoint) -> list[str]:
    """The ids of the plan, and beside each that answered about images there what else it is asked about: "loss",
    "loss@person"."""
    found = []
    for attack in run.plan.attacks_at(point):
        found.append(attack)
        if (point.name, attack) in _answered(run):
            found += [f"{attack}@{unit}" for unit in run.plan.units if unit != "image"]
    return found


@cache_on_run()
def _answered(run: RunFolder) -> set[tuple[str, str]]:
    """Points and ids of the membership attacks whose records have numbers."""
    return {(one.point, one.attack) for one in run.records if one.family == "membership" and one.metrics}

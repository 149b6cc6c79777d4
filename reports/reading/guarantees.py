"""What releases claim of differential privacy, and which claims were lost on the way and why.

A claim is the release's own; it bounds what any attack can find, and nothing in a run can prove it. Seeds of a point
claim the same as a rule; where they do not, all that they claim stands in the cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .formatting import NOTHING, format_significant

TITLES = (
    "point",
    "epsilon",
    "delta",
    "unit",
    "adjacency",
    "accountant",
    "epsilon by RDP",
    "noise multiplier",
    "sampling rate",
    "steps",
)


_HISTORY = {"noise_multiplier": 0, "sampling_rate": 1, "steps": 2}  # a history is [[noise, rate, steps], ...]


@dataclass(frozen=True)
class StatedGuarantee:
    """What the records of a point claim, each distinct claim once; a lost one is {"void": why}."""

    point: PlannedPoint
    found: tuple[dict[str, Any], ...]

    @property
    def holds(self) -> bool:
        """Whether it claims an epsilon at every seed."""
        return bool(self.found) and all("epsilon" in claim for claim in self.found)

    @property
    def epsilon(self) -> float | None:
        """The largest that is claimed; None where some seed claims none."""
        return max(float(claim["epsilon"]) for claim in self.found) if self.holds else None

    @property
    def void(self) -> str:
        """Why it was lost; empty where it was not."""
        return " / ".join(dict.fromkeys(str(claim["void"]) for claim in self.found if "void" in claim))

    @property
    def others(self) -> str:
        """What is claimed beside epsilon, where that is not claimed; empty if nothing is."""
        found = (claim for claim in self.found if not {"epsilon", "void"} & claim.keys())
        return " / ".join(", ".join(f"{key} = {value}" for key, value in claim.items()) for claim in found)

    @property
    def cells(self) -> list[str]:
        """A cell a title."""
        facts = ("epsilon", "delta", "unit", "adjacency", "accountant", "epsilon_rdp", *_HISTORY)
        return [self.point.name, *(self._cell(fact) for fact in facts)]

    @property
    def words(self) -> str:
        """The claim in one line."""
        epsilon, delta, accountant = (self._cell(fact) for fact in ("epsilon", "delta", "accountant"))
        return f"{self.point.name} states epsilon {epsilon} at delta {delta} (accountant: {accountant})"

    def _cell(self, fact: str) -> str:
        return " / ".join(dict.fromkeys(_words(claim, fact) for claim in self.found)) or NOTHING


def list_guarantees(run: RunFolder) -> list[StatedGuarantee]:
    """Of each point that claims something or lost a claim; none where it is but the controls that claim."""
    found = [claim for point in run.plan.points if (claim := find_guarantee(run, point)).found]
    return found if any(claim.point.role != "control" for claim in found) else []


def find_guarantee(run: RunFolder, point: PlannedPoint) -> StatedGuarantee:
    """Of one point; without anything in `found` where it claims nothing."""
    distinct: list[dict[str, Any]] = []
    for record in run.records:
        if record.point == point.name and record.guarantee and record.guarantee not in distinct:
            distinct.append(record.guarantee)
    return StatedGuarantee(point, tuple(distinct))


def _words(claim: dict[str, Any], fact: str) -> str:
    """Of several trainings one after the other, each one's noise, rate and steps."""
    history = claim.get("history") or []
    if fact in _HISTORY and len(history) > 1:
        return ", then ".join(_number(stage[_HISTORY[fact]]) for stage in history)
    value = claim.get(fact)
    if value is None and fact in _HISTORY and history:
        value = history[0][_HISTORY[fact]]
    return NOTHING if value is None else _number(value)


def _number(value: object) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else format_significant(value) if value % 1 else f"{value:,.0f}"

"""Guarantees that releases state, and those that were lost on the way and why.

A guarantee is the release's own statement. It bounds what any attack can find, and nothing in a run can prove it. Seeds
of a point usually state the same; where they do not, the cell shows all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .formatting import NOTHING, format_significant

TITLES = (
    "point",
    "epsilon",
    "epsilon, one replaced",
    "epsilon by image",
    "epsilon by group (images)",
    "delta",
    "unit",
    "adjacency",
    "accountant",
    "epsilon by RDP",
    "noise multiplier",
    "sampling rate",
    "steps",
)

_BY = ("epsilon_by_image", "epsilon_by_group")
_HISTORY = {"noise_multiplier": 0, "sampling_rate": 1, "steps": 2}  # a history is [[noise, rate, steps], ...]


@dataclass(frozen=True)
class StatedGuarantee:
    """Guarantees in the records of a point, each distinct one once; a lost one is {"void": why}."""

    point: PlannedPoint
    found: tuple[dict[str, Any], ...]

    @property
    def holds(self) -> bool:
        """True if an epsilon is stated at every seed."""
        return bool(self.found) and all("epsilon" in stated for stated in self.found)

    @property
    def epsilon(self) -> float | None:
        """The largest epsilon that is stated; None where some seed states none."""
        return max(float(stated["epsilon"]) for stated in self.found) if self.holds else None

    @property
    def unit(self) -> str:
        """Whom it protects, "image" or "group", in the word of the guarantee; empty where it does not say."""
        return " / ".join(dict.fromkeys(str(stated["unit"]) for stated in self.found if "unit" in stated))

    @property
    def by_group(self) -> float | None:
        """The largest epsilon for all images of a group together; None where some seed states none."""
        return self._largest("group")

    @property
    def by_image(self) -> float | None:
        """The largest epsilon for one image; None where some seed states none."""
        return self._largest("image")

    def _largest(self, unit: Literal["image", "group"]) -> float | None:
        found = [value for stated in self.found if (value := epsilon_by(stated, unit)) is not None]
        return max(found) if self.holds and len(found) == len(self.found) else None

    @property
    def beside(self) -> str:
        """What an epsilon by image is for the images of one group, in words; empty where it is of no grouped data."""
        return " / ".join(dict.fromkeys(words for stated in self.found if (words := _beside(stated))))

    @property
    def replace_one(self) -> float | None:
        """The largest epsilon for one image replaced; None where some seed states none."""
        found = [float(stated["epsilon_replace_one"]) for stated in self.found if "epsilon_replace_one" in stated]
        return max(found) if self.holds and len(found) == len(self.found) else None

    @property
    def void(self) -> str:
        """The reasons why it was lost; empty where it was not."""
        return " / ".join(dict.fromkeys(str(stated["void"]) for stated in self.found if "void" in stated))

    @property
    def others(self) -> str:
        """Facts that are stated without an epsilon; empty if there are none."""
        found = (stated for stated in self.found if not {"epsilon", "void"} & stated.keys())
        return " / ".join(", ".join(f"{key} = {value}" for key, value in stated.items()) for stated in found)

    @property
    def cells(self) -> list[str]:
        """A cell for each title."""
        facts = (
            "epsilon",
            "epsilon_replace_one",
            *_BY,
            "delta",
            "unit",
            "adjacency",
            "accountant",
            "epsilon_rdp",
            *_HISTORY,
        )
        return [self.point.name, *(self._cell(fact) for fact in facts)]

    @property
    def words(self) -> str:
        """The guarantee in one line."""
        epsilon, delta, accountant = (self._cell(fact) for fact in ("epsilon", "delta", "accountant"))
        by = f"adjacency: {self.adjacency}, " if self.adjacency else ""
        whose = f" by {self.unit}" if self.unit else ""
        beside = f"; {self.beside}" if self.beside else ""
        said = f"{self.point.name} states epsilon {epsilon}{whose} at delta {delta} ({by}accountant: {accountant})"
        return said + beside

    @property
    def adjacency(self) -> str:
        """The data sets that are neighbours, in the word of the guarantee; empty where it does not say."""
        return " / ".join(dict.fromkeys(str(stated["adjacency"]) for stated in self.found if "adjacency" in stated))

    def _cell(self, fact: str) -> str:
        return " / ".join(dict.fromkeys(_words(stated, fact) for stated in self.found)) or NOTHING


def list_guarantees(run: RunFolder) -> list[StatedGuarantee]:
    """Guarantees of all points that state or lost one; empty where only controls state any."""
    found = [stated for point in run.plan.points if (stated := find_guarantee(run, point)).found]
    return found if any(stated.point.role != "control" for stated in found) else []


def find_guarantee(run: RunFolder, point: PlannedPoint) -> StatedGuarantee:
    """Guarantee of one point; `found` is empty where it states none."""
    distinct: list[dict[str, Any]] = []
    for record in run.records:
        if record.point == point.name and record.guarantee and record.guarantee not in distinct:
            distinct.append(record.guarantee)
    return StatedGuarantee(point, tuple(distinct))


def epsilon_by(stated: dict[str, Any], unit: Literal["image", "group"]) -> float | None:
    """The epsilon that a guarantee states of one image, or of all images of a group; None where it states none.

    Without a unit a guarantee is taken to be by image, as all were before there were others.
    """
    found = stated.get("epsilon" if stated.get("unit", "image") == unit else f"epsilon_by_{unit}")
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _beside(stated: dict[str, Any]) -> str:
    """2.61 by image is 21.7 for 5 images of a person."""
    images, by_image = stated.get("group_size"), epsilon_by(stated, "image")
    if stated.get("unit") == "group" or images is None or by_image is None:
        return ""
    by_group = epsilon_by(stated, "group")
    much = "in the hundreds" if by_group is None else _number(by_group)
    return f"{_number(by_image)} by image is {much} for {images} image{'s' * (images != 1)} of a person"


def _words_by(stated: dict[str, Any], unit: Literal["image", "group"]) -> str:
    """Epsilon by a unit as text, that by group with the number of images; nothing where images come in no groups."""
    images = stated.get("group_size")
    if "epsilon" not in stated or (stated.get("unit") != "group" and images is None):
        return NOTHING
    found = epsilon_by(stated, unit)
    if unit == "image" or images is None:
        return NOTHING if found is None else _number(found)
    return f"{'in the hundreds' if found is None else _number(found)} ({images})"


def _words(stated: dict[str, Any], fact: str) -> str:
    """A fact of a guarantee as text; of several trainings one after the other, each one's noise, rate and steps."""
    history = stated.get("history") or []
    if fact in _BY:
        return _words_by(stated, "group" if fact == "epsilon_by_group" else "image")
    if fact in _HISTORY and len(history) > 1:
        return ", then ".join(_number(stage[_HISTORY[fact]]) for stage in history)
    value = stated.get(fact)
    if value is None and fact in _HISTORY and history:
        value = history[0][_HISTORY[fact]]
    return NOTHING if value is None else _number(value)


def _number(value: object) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else format_significant(value) if value % 1 else f"{value:,.0f}"

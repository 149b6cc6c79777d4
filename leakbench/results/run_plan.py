"""The plan of a run as plan.json holds it: what was to be measured, in the order of the suite.

The runner writes it, reports read it. Plans of earlier versions lack some fields; each has a default that says so.
"""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from leakbench.results.names import Name

Role = Literal["baseline", "defense", "ablation", "control"]  # ablation: a defense with one of its parts taken away
COMPARED: Final[tuple[Role, ...]] = ("defense", "ablation")  # with a baseline


class _Planned(BaseModel):
    """A frozen model. Fields that a later version adds are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PlannedPoint(_Planned):
    """A defense with its swept parameters, as the suite names it."""

    point: Name  # "cpsample alpha=0.25"
    defense: Name = ""  # the id in the suite
    role: Role = "defense"
    chain: tuple[Name, ...] = ()  # methods, from the one that trains the network to the outermost
    bases: tuple[Name, ...] = ()  # ids of the defenses below it, from the one that trains the network upwards
    condition: Name = "none"
    given: bool = False  # its network was handed in, not trained here

    @property
    def name(self) -> str:
        """The name that tables use."""
        return self.point

    @property
    def is_compared(self) -> bool:
        """True for defenses and their ablations: what is compared with a baseline."""
        return self.role in COMPARED

    @property
    def method(self) -> str:
        """The outermost method: several ids may share one. The id itself, where a plan says nothing of methods."""
        return self.chain[-1] if self.chain else self.defense


class BudgetChange(_Planned):
    """A setting of the suite that --budget made smaller."""

    path: str  # "defense.baseline.steps"
    published: Any = None
    used: Any = None


class EmptyRow(_Planned):
    """A defense that --budget left out, as its row would say nothing: what it needs, and the budget that buys it (None:
    no budget does, for this reason)."""

    row: Name
    least: dict[Name, int] = Field(default_factory=dict)
    minutes: int | None = None
    reason: str = ""


class PlannedBudget(_Planned):
    """The budget in minutes that a suite was scaled to; `enough` minutes buy all rows that minutes can buy."""

    minutes: float
    factor: float
    small: bool
    empty: tuple[EmptyRow, ...] = ()
    enough: int | None = None
    changes: tuple[BudgetChange, ...] = ()


class PlannedGroups(_Planned):
    """Groups of images (people, patients, scenes): how many in each part, how many on both sides of the split, and how
    many of the reported nonmembers are of those."""

    by_part: dict[str, int] = Field(default_factory=dict)
    shared: int = 0
    shared_nonmembers: int = 0


class PublishedNumber(_Planned):
    """A number that a paper reports, to stand beside the run's own."""

    paper: str
    setting: str
    value: float | str
    metric: str = ""
    says: str = ""
    defense: str = ""
    attack: str = ""
    note: str = ""


class RunPlan(_Planned):
    """Everything that plan.json says of a run."""

    suite: Name = ""
    summary: str = ""
    ensemble: Name = ""  # name and version of the frozen set of attacks; "" if it was none
    identity: str = ""  # digest of all settings
    command: str | list[str] = ""
    earlier: list[str] = Field(default_factory=list)  # the commands that this one added to, in order
    dataset: Name = ""
    model: Name = ""
    headline: Name = "tpr@fpr=0.1"  # the metric that ranks
    seeds: list[int] = Field(default_factory=list)
    samples: int | None = None
    features: Name = ""
    split: dict[str, Any] = Field(default_factory=dict)  # part -> number of images, and how it was made
    groups: PlannedGroups | None = None  # None: each image is taken to be of another person
    units: tuple[Name, ...] = ("image",)  # what membership attacks are asked about: Record.unit
    points: list[PlannedPoint] = Field(default_factory=list)
    attacks: dict[Name, str] = Field(default_factory=dict)  # id -> summary
    budget: PlannedBudget | None = None
    published: list[PublishedNumber] = Field(default_factory=list)
    settings: dict[str, Any] = Field(default_factory=dict)  # the whole suite file, after --set and --budget

    @field_validator("points")
    @classmethod
    def _check_points(cls, points: list[PlannedPoint]) -> list[PlannedPoint]:
        if twice := [name for name, count in Counter(point.name for point in points).items() if count > 1]:
            raise ValueError(f"point {twice[0]!r} stands there twice")
        return points

    @field_validator("settings")
    @classmethod
    def _check_tables(cls, settings: dict[str, Any]) -> dict[str, Any]:
        for key in ("attack", "defense"):
            entries = settings.get(key) or []
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise ValueError(f"settings.{key} is no list of tables")
        if not isinstance(settings.get("split") or {}, dict):
            raise ValueError("settings.split is no table")
        return settings

    @property
    def commands(self) -> list[str]:
        """The commands, or calls of Python, that made the run, in order; none if they are not on record."""
        last = self.command if isinstance(self.command, str) else shlex.join(self.command)
        return [*self.earlier, *([last] if last else [])]

    @property
    def command_line(self) -> str:
        """The same on one line, with "; " between them."""
        return "; ".join(self.commands)

    @property
    def methods(self) -> dict[str, str]:
        """The method of each attack, by the id that the suite gave it."""
        entries = self.settings.get("attack") or []
        return {str(entry.get("id", entry.get("name"))): str(entry.get("name")) for entry in entries}

    def attacks_at(self, point: PlannedPoint) -> list[str]:
        """The ids of the attacks that are run against a point: all, but for those that name other defenses."""
        on = {
            str(one.get("id", one.get("name"))): one["on"] for one in (self.settings.get("attack") or []) if "on" in one
        }
        named = {attack: list(ids) if isinstance(ids, list) else [ids] for attack, ids in on.items()}
        return [attack for attack in self.attacks if point.defense in named.get(attack, [point.defense])]

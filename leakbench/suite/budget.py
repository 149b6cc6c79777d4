"""Makes a suite smaller for `--budget`, and lists what was changed.

Three things, in this order. `[small]` of a suite names values of its own (of a network and a split that a small machine
can work with), by the paths of --set: they are used where the published size is out of reach. Rows that the minutes do
not buy are left out, with what stands on them. Then one factor scales the lengths of every defense's training
(`Cost.budget_params`: its steps) and the number of samples, down to a floor and never up: the least that [small] names
for a row, or else the fewest at which anything is learnt. Values of --set are applied after [small], and are scaled as
well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.runtime import registry
from leakbench.suite.file import SuiteFile
from leakbench.suite.overrides import flatten
from leakbench.suite.small import scaled_params

FEWEST_STEPS = 20  # of any training; below, nothing is learnt at all
FEWEST_SAMPLES = 200  # of a release; below, no distance and no rate of copies means anything


@dataclass(frozen=True)
class Change:
    """A value of the suite as published (None: a default), and as it is run. `path` is as --set writes it."""

    path: str
    published: Any
    used: Any


@dataclass(frozen=True)
class EmptyRow:
    """A defense that is left out, as its row would say nothing.

    - row: its id. least: what it needs to mean something, by parameter.
    - minutes: the budget that buys it beside what this one buys; None where none does.
    - reason: why none does, or "".
    """

    row: str
    least: dict[str, int]
    minutes: int | None = None
    reason: str = ""

    @property
    def words(self) -> str:
        """The row and what it would need: "dp_sgd (1,500 steps; --budget 41)"."""
        least = ", ".join(f"{value:,} {key}" for key, value in self.least.items())
        needs = f"at no budget: {self.reason}" if self.minutes is None else f"--budget {self.minutes}"
        return f"{self.row} ({'; '.join(filter(None, [least, needs]))})"


@dataclass(frozen=True)
class Budget:
    """Scaling of a suite to `minutes`.

    - factor: at most 1. small: true if [small] was used.
    - empty: the rows that are left out. enough: the budget that buys all rows which minutes can buy.
    """

    minutes: float
    factor: float
    small: bool = False
    empty: tuple[EmptyRow, ...] = ()
    enough: int | None = None
    changes: tuple[Change, ...] = ()

    def describe_empty(self) -> str:
        """One line that names the rows left out and the minutes that would do; "" where none is."""
        if not self.empty:
            return ""
        rows = ", ".join(row.words for row in self.empty)
        line = f"--budget {self.minutes:g} leaves out rows that would be empty: {rows}"
        bought = sum(row.minutes is not None for row in self.empty)
        return line + (f"; --budget {self.enough} would do for all {bought}" if bought > 1 else "")


def drop_rows(table: dict[str, Any], rows: frozenset[str]) -> None:
    """Remove defenses by their ids from a suite's table in place, with all that names them: what stands on them,
    attacks that are run against no other, published numbers."""
    if not rows:
        return
    entries = table.get("defense", [])
    gone = set(rows)
    while more := {_id(entry) for entry in entries if entry.get("base") in gone} - gone:
        gone |= more
    table["defense"] = [entry for entry in entries if _id(entry) not in gone]
    for attack in [entry for entry in table.get("attack", []) if "on" in entry]:
        on = [attack["on"]] if isinstance(attack["on"], str) else attack["on"]
        attack["on"] = [one for one in on if one not in gone]
    table["attack"] = [entry for entry in table.get("attack", []) if entry.get("on") != []]
    table["published"] = [row for row in table.get("published", []) if row.get("defense") not in gone]
    for part in ("least", "empty"):
        if left := table.get("small", {}).get(part):
            table["small"][part] = {key: value for key, value in left.items() if key not in gone}


def scale_down(table: dict[str, Any], factor: float, least: dict[str, dict[str, int]], where: str) -> None:
    """Scale the steps and samples of a suite's table in place. least: smallest values, by defense id."""
    for entry in table.get("defense", ()):
        kind = registry.find("defenses", str(entry.get("name")), where)
        for key in scaled_params(kind, entry):
            asked = entry.get(key, kind.model_fields[key].default)
            swept = asked if isinstance(asked, list) else [asked]
            floor = least.get(_id(entry), {}).get(key, FEWEST_STEPS)
            less = list(dict.fromkeys(_scale(value, factor, floor) for value in swept))
            if less != swept:
                entry[key] = less if isinstance(asked, list) else less[0]
    quality = table.setdefault("quality", {})
    asked = quality.get("samples", type(SuiteFile.model_fields["quality"].default)().samples)
    quality["samples"] = _scale(asked, factor, FEWEST_SAMPLES)


def _id(entry: dict[str, Any]) -> str:
    return str(entry.get("id", entry.get("name")))


def _scale(asked: Any, factor: float, floor: int) -> Any:
    """The value times the factor, no less than the floor and never more than it was."""
    if not isinstance(asked, int) or isinstance(asked, bool):
        return asked  # no number of steps: left for the check of the file, which names it
    return min(asked, max(floor, round(asked * factor)))


def list_changes(published: SuiteFile, used: SuiteFile) -> tuple[Change, ...]:
    """Every value in which two versions of a suite with the same rows differ, in the order of the file."""
    before, after = (
        flatten(file.model_dump(mode="json", exclude={"small", "published"})) for file in (published, used)
    )
    paths = dict.fromkeys([*before, *after])
    return tuple(
        Change(path, before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)
    )

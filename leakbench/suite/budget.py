"""Makes a suite smaller for `--budget`, and lists what was changed.

Two things, in this order. `[small]` of a suite names values of its own (of a network and a split that a small machine
can work with), by the paths of --set: they are used where the published size is out of reach. Then one factor scales
the lengths of every defense's training (`Cost.budget_params`: its steps) and the number of samples, down to a floor
and never up. Values of --set are applied after [small], and are scaled as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.api import Cost, Defense
from leakbench.runtime import registry
from leakbench.suite.file import SuiteFile
from leakbench.suite.overrides import flatten

FEWEST_STEPS = 20  # of any training; below, nothing is learnt at all
FEWEST_SAMPLES = 200  # of a release; below, no distance and no rate of copies means anything


@dataclass(frozen=True)
class Change:
    """A value of the suite as published (None: a default), and as it is run. `path` is as --set writes it."""

    path: str
    published: Any
    used: Any


@dataclass(frozen=True)
class Budget:
    """Scaling of a suite to `minutes`: `factor` is at most 1, `small` is true if the values of [small] were used."""

    minutes: float
    factor: float
    small: bool = False
    changes: tuple[Change, ...] = ()


def scale_down(table: dict[str, Any], factor: float, where: str) -> None:
    """Scale the steps and samples of a suite's table in place."""
    for entry in table.get("defense", ()):
        kind = registry.find("defenses", str(entry.get("name")), where)
        for key in _budget_params(kind, entry):
            asked = entry.get(key, kind.model_fields[key].default)
            swept = asked if isinstance(asked, list) else [asked]
            less = list(dict.fromkeys(_scale(value, factor, FEWEST_STEPS) for value in swept))
            if less != swept:
                entry[key] = less if isinstance(asked, list) else less[0]
    quality = table.setdefault("quality", {})
    asked = quality.get("samples", type(SuiteFile.model_fields["quality"].default)().samples)
    quality["samples"] = _scale(asked, factor, FEWEST_SAMPLES)


def _budget_params(kind: type[Defense], entry: dict[str, Any]) -> list[str]:
    """Parameters of a defense that the budget scales; `steps` where the entry lacks what its cost asks for."""
    given = {key: value[0] if isinstance(value, list) and value else value for key, value in entry.items()}
    try:
        cost = kind.model_construct(**given).cost()
    except (AttributeError, TypeError, ValueError, ArithmeticError):
        cost = Cost()  # the check of the file names what is missing or wrong
    return [key for key in cost.budget_params if key in kind.model_fields]


def _scale(asked: Any, factor: float, floor: int) -> Any:
    """The value times the factor, no less than the floor and never more than it was."""
    if not isinstance(asked, int) or isinstance(asked, bool):
        return asked  # no number of steps: left for the check of the file, which names it
    return min(asked, max(floor, round(asked * factor)))


def list_changes(published: SuiteFile, used: SuiteFile) -> tuple[Change, ...]:
    """Every value in which two versions of a suite differ, in the order of the file."""
    before, after = (
        flatten(file.model_dump(mode="json", exclude={"small", "published"})) for file in (published, used)
    )
    paths = dict.fromkeys([*before, *after])
    return tuple(
        Change(path, before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)
    )

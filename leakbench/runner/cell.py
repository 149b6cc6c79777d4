"""One unit of work of a run, and how shadow trainings are joined so that one pass trains several."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from leakbench.api import AuxiliaryModel, Defense, as_pretrained
from leakbench.measurement.record_contents import RecordSpec
from leakbench.runtime.cache.keys import compute_key
from leakbench.suite.release_spec import ChainLink, ReleaseSpec


@dataclass(frozen=True)
class Cell:
    """One unit of work.

    - kind: `fit` trains, loads or makes the last link of a chain, `reader` trains the features of the split, `audit`
      makes all missing records of one release.
    - description: the work in words; of a fit it begins with its verb, "load model, seed 0".
    - depends_on: names of the cells that must be done first.
    - models: of a fit, the models to train: None is the target itself, the others are what attacks need.
    - records: of an audit, the records to make.
    """

    name: str
    kind: Literal["fit", "reader", "audit"]
    description: str
    depends_on: tuple[str, ...] = ()
    chain: tuple[ChainLink, ...] = ()
    point: ReleaseSpec | None = None
    seed: int = 0
    models: tuple[AuxiliaryModel | None, ...] = ()
    records: tuple[RecordSpec, ...] = ()

    @property
    def columns(self) -> tuple[str, str]:
        """The word for the work and what it is done to, for a plan: ("load", "model, seed 0")."""
        if self.kind != "fit":
            return self.kind, self.description
        verb, _, rest = self.description.partition(" ")
        return verb, rest

    @property
    def trains(self) -> bool:
        """True of a fit that trains something."""
        return self.kind == "fit" and fit_verb(self.chain[-1].defense) == "train"

    @property
    def trains_shadows(self) -> bool:
        """True of a fit that trains shadow models."""
        return any(model is not None and model.kind == "shadow" for model in self.models)


def fit_verb(defense: Defense) -> Literal["train", "load", "make"]:
    """The word for a defense's fit: a model that was handed in is loaded; a control or a change of the sampling whose
    cost names no training is made."""
    if as_pretrained(defense) is not None:
        return "load"
    may_train = defense.role != "control" and defense.changes != "sampling"
    return "train" if may_train or defense.cost().training else "make"


def batch_shadow_trainings(
    cells: Iterable[Cell], recipe_of: Callable[[Cell], Hashable], most: int
) -> tuple[list[Cell], dict[str, str]]:
    """Join shadow trainings of one recipe, at most `most` of them, into one cell each.

    Returns the cells, each of whose dependencies names a cell as it is after joining, and the new name of every cell
    that went into another.
    """
    alike: dict[Hashable, list[Cell]] = {}
    for cell in cells:
        recipe = ("shadow", recipe_of(cell)) if cell.trains_shadows else ("alone", cell.name)
        alike.setdefault(recipe, []).append(cell)
    groups = [group[i : i + most] for group in alike.values() for i in range(0, len(group), most)]
    joined = [_join(group) for group in groups]
    new_names = {cell.name: one.name for group, one in zip(groups, joined, strict=True) for cell in group}
    return [rename_dependencies(cell, new_names) for cell in joined], new_names


def rename_dependencies(cell: Cell, new_names: dict[str, str]) -> Cell:
    """The cell with its dependencies under their new names, each once."""
    return replace(cell, depends_on=tuple(dict.fromkeys(new_names.get(name, name) for name in cell.depends_on)))


def _join(cells: list[Cell]) -> Cell:
    if len(cells) == 1:
        return cells[0]
    return replace(
        cells[0],
        name=compute_key(together=[cell.name for cell in cells]),
        description=f"{cells[0].description} and {len(cells) - 1} more",
        depends_on=tuple(name for cell in cells for name in cell.depends_on),
        models=tuple(model for cell in cells for model in cell.models),
    )

"""The built-in attacks as a table: what a plan has to know of them, without importing their code, or torch.

attack_table.json has a row for every attack with its default parameters, and for every entry of a frozen set. A test
holds it to the attacks; `python -m leakbench.runner.estimate.attack_rows` writes it anew.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict

from leakbench.api import REFERENCE, Access, Attack, AuxiliaryModel, Needs, RecoveryAttack, shadow_models
from leakbench.api.families import CONTRACTS

TABLE = Path(__file__).with_name("attack_table.json")


class AttackRow(NamedTuple):
    """An attack with some parameters; those that it is not given have their defaults.

    auxiliary: number of other models that are trained for it. calls: its network calls
    (runner.estimate.attack_calls). needs: as leakbench.api.Needs has them, what is zero left out. generates: of a
    replication attack, it asks for images. recovers: it tries to get given images back. leaves_pairs_out: it learns
    from few images too. compares: with the base of a fine-tune.
    """

    name: str
    parameters: dict[str, Any]
    family: str
    access: str
    summary: str
    adaptive: bool
    reads_samples: bool
    generates: bool
    recovers: bool
    auxiliary: int
    needs: dict[str, Any]
    calls: dict[str, Any]
    leaves_pairs_out: bool = False
    compares: bool = False


class NotInTable(Exception):
    """An attack, or one with parameters, of which the table has no row."""


@cache
def read_rows() -> tuple[AttackRow, ...]:
    """All rows, in order of name."""
    return tuple(AttackRow(**row) for row in json.loads(TABLE.read_text(encoding="utf-8")))


def stand_ins() -> dict[str, type[Attack]]:
    """A class for each built-in attack by name, which knows its row and can be planned, not run."""
    rows: dict[str, list[AttackRow]] = {}
    for row in read_rows():
        rows.setdefault(row.name, []).append(row)
    return {name: _stand_in(name, tuple(known)) for name, known in rows.items()}


def row_of(attack: Attack) -> AttackRow:
    """The row of a stand-in. Raises NotInTable."""
    given = dict(attack.model_extra or {})
    for row in read_rows():
        if row.name == attack.name and row.parameters == given:
            return row
    raise NotInTable(f"attack {attack.name} with {', '.join(f'{k} = {v}' for k, v in given.items())}")


def _needs(attack: Attack) -> Needs:
    found = row_of(attack).needs
    lists: dict[str, Any] = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
    return Needs(**found | lists)


def _auxiliary_models(attack: Attack) -> tuple[AuxiliaryModel, ...]:
    row = row_of(attack)
    return (*shadow_models(row.auxiliary), *((REFERENCE,) if row.compares else ()))


def _stand_in(name: str, rows: tuple[AttackRow, ...]) -> type[Attack]:
    first = rows[0]
    contents: dict[str, Any] = {
        "__module__": __name__,
        "__doc__": f"{first.summary}; without its code.",
        "model_config": ConfigDict(extra="allow"),
        "name": name,
        "summary": first.summary,
        "access": Access[first.access],
        "adaptive": first.adaptive,
        "reads_samples": first.reads_samples,
        "needs": property(_needs),
        "auxiliary_models": _auxiliary_models,
    }
    if first.family == "replication":
        contents["generates"] = property(lambda attack: row_of(attack).generates)
    if first.family == "membership":
        contents["out_of_fold"] = property(lambda attack: row_of(attack).calls["out_of_fold"])
        contents["leaves_pairs_out"] = first.leaves_pairs_out
    base = RecoveryAttack if first.recovers else CONTRACTS[first.family]  # type: ignore[index]
    return type(name, (base,), contents)

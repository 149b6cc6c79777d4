"""Writes the table of attacks anew, from classes and dry runs: python -m leakbench.runner.estimate.attack_rows"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from leakbench.api import (
    Access,
    Attack,
    AuditSetting,
    AuxiliaryModel,
    MembershipAttack,
    MemorisationAttack,
    Needs,
    RecoveryAttack,
)
from leakbench.models.schedule import Schedule
from leakbench.runner.estimate.attack_calls import AttackCalls
from leakbench.runner.estimate.dry_run import count_membership_calls, count_own_calls, count_recovery_calls
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.suite.attack_table import TABLE, AttackRow
from leakbench.suite.audit_request.attack_sets import FROZEN, WORDS, read_set
from leakbench.suite.audit_request.attacks import ASKED, Reach, list_twins

SHAPE = (1, 16, 16)  # of the images that fits are timed on
_RARE = ("leaves_pairs_out", "compares")  # left out where it is false
_NOWHERE = AuditSetting((), "none", "nothing", 1, 0, parts=frozenset())  # lacks all that can be lacking


def make_rows() -> Iterator[tuple[Attack, AttackRow]]:
    """All built-in attacks, each with some parameters once, in order, and their rows without calls: with defaults, and
    as entries of frozen sets and their twins have them."""
    entries: dict[str, dict[str, Any]] = {}
    named, frozen = [{"name": name} for name in _built_in()], [one for name in FROZEN for one in read_set(name)]
    twins = [twin for one in frozen for twin in list_twins(one, Reach(Access.WEIGHTS, has_base=True))]
    for entry in [*named, *frozen, *twins, *WORDS]:
        plain = {key: value for key, value in entry.items() if key not in ("id", "on")}
        entries.setdefault(json.dumps(plain, sort_keys=True), plain)
    for _, entry in sorted(entries.items(), key=lambda item: (item[1]["name"], item[0])):
        name, parameters = entry["name"], {key: value for key, value in entry.items() if key != "name"}
        attack = registry.find("attacks", name)(**parameters)
        yield attack, make_row(attack, parameters)


def make_row(attack: Attack, parameters: dict[str, Any]) -> AttackRow:
    """The row of one attack, without its calls. Raises UsageError where an attack of audits refuses for reasons beside
    its needs."""
    needs = attack.needs
    if attack.family in ASKED and attack.skip(_NOWHERE) != needs.skip(_NOWHERE):
        raise UsageError(f"attack {attack.name!r}: its skip() knows reasons that `needs` does not say")
    told = {key: value for key, value in dataclasses.asdict(needs).items() if value != getattr(Needs(), key)}
    return AttackRow(
        attack.name,
        parameters,
        attack.family,
        attack.access.name,
        attack.summary,
        attack.adaptive,
        attack.reads_samples,
        bool(getattr(attack, "generates", False)),
        isinstance(attack, RecoveryAttack),
        len(_trained(attack)),
        json.loads(json.dumps(told)),
        {},
        bool(getattr(attack, "leaves_pairs_out", False)),
        len(_trained(attack)) < len(attack.auxiliary_models()),
    )


def _trained(attack: Attack) -> list[AuxiliaryModel]:
    """The other models that are trained for an attack: the base of a fine-tune is there."""
    return [model for model in attack.auxiliary_models() if model.kind != "reference"]


def count_calls(attack: Attack) -> dict[str, Any]:
    """The calls of an attack of audits by a dry run; none of one that audits leave out."""
    calls = AttackCalls()
    if isinstance(attack, MembershipAttack) and not attack.needs.parts and not _trained(attack):
        calls = count_membership_calls([attack], SHAPE, 2 * attack.needs.condition, Schedule())[1][0]
    elif isinstance(attack, MemorisationAttack):
        calls = AttackCalls(count_own_calls(attack, SHAPE, Schedule()))
    elif isinstance(attack, RecoveryAttack):
        calls = AttackCalls(count_recovery_calls(attack, SHAPE, Schedule()))
    return dataclasses.asdict(calls) | {"seconds": round(calls.seconds, 1)}


def _built_in() -> list[str]:
    return [name for name in registry.names("attacks") if registry.is_built_in("attacks", name)]


if __name__ == "__main__":
    made = (row._replace(calls=count_calls(attack))._asdict() for attack, row in make_rows())
    rows = [json.dumps({key: value for key, value in row.items() if value or key not in _RARE}) for row in made]
    TABLE.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")

"""Answers before any training whether the defenses and attacks of a suite can work where it puts them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from leakbench.api import UPDATES, Attack, AuditSetting, Defense, Skip, as_pretrained, find_reference, shipped_parts
from leakbench.runtime.errors import UsageError
from leakbench.suite.release_spec import ChainLink

if TYPE_CHECKING:
    from leakbench.measurement.inputs import RunInputs

_NOTHING_TO_FORGET = Skip("there is nothing to forget: write a [forget] table with `label` or `share`")


def check_compatibility(inputs: RunInputs) -> None:
    """Raise UsageError that names the suite, the defense or attack, and the reason why it cannot work there."""
    _ = inputs.forgotten  # attacks and metrics read [forget] for every release
    where = f"suite {inputs.suite.file.name!r}"
    if "utility" in inputs.suite.file.quality.measures:
        _check_labels(inputs, where)
    for point in inputs.suite.points:
        inputs.network_of(point.chain)
        inputs.schedule_of(point.chain)
        for number, link in enumerate(point.chain):
            if found := _skip_defense(inputs, point.chain[:number], link, inputs.condition(point.chain)):
                raise UsageError(f"{where}: defense {link.id!r}: {found.reason}")
    for name, attack in inputs.suite.attacks.items():
        for point in inputs.suite.points:
            if not inputs.suite.asks(name, point):
                continue
            found = skip_attack(attack, audit_setting(inputs, point.chain))
            if found is not None and found.severity == "cannot-work":
                raise UsageError(f"{where}: attack {name!r}: {found.reason}")


def _check_labels(inputs: RunInputs, where: str) -> None:
    if all(inputs.condition(point.chain) != "label" for point in inputs.suite.points):
        raise UsageError(
            f"{where}: quality.measures: 'utility' trains a classifier on samples and the labels that they were asked "
            'for, and no network here is given labels; write network.condition = "label", or leave it out'
        )


def audit_setting(
    inputs: RunInputs, chain: tuple[ChainLink, ...], condition: str | None = None, forgets: bool = True
) -> AuditSetting:
    """Setting of what stands on a chain, or attacks it."""
    forget, parts = inputs.suite.file.forget, inputs.split.parts
    defenses = tuple(link.defense for link in chain)
    return AuditSetting(
        chain=defenses,
        condition=condition or inputs.condition(chain),
        forget=forget.kind if forget and forgets else "nothing",
        timesteps=inputs.schedule_of(chain).T,
        images=len(inputs.split.train),
        pixels=inputs.data.shape[1] * inputs.data.shape[2],
        calibration=len(parts["calibration_in"]) + len(parts["calibration_out"]),
        parts=shipped_parts(defenses) | (frozenset({UPDATES}) if _audited_by_gradients(defenses) else frozenset()),
        group_sizes=_group_sizes(inputs),
    )


def _group_sizes(inputs: RunInputs) -> tuple[int, ...] | None:
    """Number of training images of each group; None where images come in no groups."""
    group = inputs.split.group
    return None if group is None else tuple(Counter(group[inputs.split.train].tolist()).values())


def _audited_by_gradients(defenses: tuple[Defense, ...]) -> bool:
    return bool(defenses) and defenses[-1].takes_gradient_canaries


def skip_attack(attack: Attack, setting: AuditSetting) -> Skip | None:
    """Reason why an attack is not run on a release: its own, or that of the models which it needs."""
    if any(attack.access > defense.offers for defense in setting.chain):
        return Skip("its release hands out images and nothing else", "not-applicable")
    own, models = attack.skip(setting), attack.auxiliary_models()
    if own is not None and own.severity == "not-applicable":
        return own
    if any(model.kind == "reference" for model in models) and find_reference(setting.chain) is None:
        return Skip("compares with the base that a model was fine-tuned from, and this one has none", "not-applicable")
    trained = [model for model in models if model.kind != "reference"]
    if trained and any(map(as_pretrained, setting.chain)):
        reason = "its model was given: no shadow, retrained or canary model of it can be trained"
        return Skip(reason, "not-applicable", ("not-trained-here",))
    if any(model.kind == "retrained" for model in models) and setting.forget == "nothing":
        return _NOTHING_TO_FORGET
    return own


def is_applicable(attack: Attack, setting: AuditSetting) -> bool:
    """Tell whether an attack is run on a release; otherwise its record says not-applicable."""
    found = skip_attack(attack, setting)
    return found is None or found.severity != "not-applicable"


def _skip_defense(inputs: RunInputs, below: tuple[ChainLink, ...], link: ChainLink, condition: str) -> Skip | None:
    defense = link.defense
    if defense.forgets and inputs.suite.file.forget is None:
        return _NOTHING_TO_FORGET
    setting = audit_setting(inputs, below, condition, defense.forgets)
    return _skip_order(below, defense) or defense.skip(setting)


def _skip_order(below: tuple[ChainLink, ...], defense: Defense) -> Skip | None:
    """Refuse a defense on a base that it cannot build on."""
    for link in below:
        if defense.changes != "sampling" and link.defense.changes == "sampling":
            return Skip(
                f"{defense.name} changes weights, and its base {link.id!r} changes only what is answered: "
                f"build {link.id!r} on it instead"
            )
        if defense.changes == "sampling" and defense.is_iterative and not link.defense.is_iterative:
            return Skip(
                f"{defense.name} steers a sampling walk, and its base {link.id!r} chooses among finished samples: "
                f"build {link.id!r} on it instead"
            )
    return None

"""Whether the defenses and attacks of a suite make sense where it puts them: asked before anything is trained."""

from __future__ import annotations

from leakbench.api import Attack, AuditSetting, Defense
from leakbench.measurement.inputs import RunInputs
from leakbench.runtime.errors import UsageError
from leakbench.suite.load import ChainLink, ReleaseSpec


def check_compatibility(inputs: RunInputs) -> None:
    """Raise UsageError that names the suite, the defense or attack, and why it cannot work there."""
    _ = inputs.forgotten  # attacks and metrics read [forget] for every release
    where = f"suite {inputs.suite.file.name!r}"
    for point in inputs.suite.points:
        inputs.network_of(point.chain)
        inputs.schedule_of(point.chain)
        for number, link in enumerate(point.chain):
            if objection := _objection(inputs, point.chain[:number], link, inputs.condition(point.chain)):
                raise UsageError(f"{where}: defense {link.id!r}: {objection}")
    for name, attack in inputs.suite.attacks.items():
        for point in inputs.suite.points:
            if inputs.suite.asks(name, point) and (objection := _refusal(inputs, attack, point)):
                raise UsageError(f"{where}: attack {name!r}: {objection}")


def audit_setting(
    inputs: RunInputs, below: tuple[ChainLink, ...], condition: str | None = None, forgets: bool = True
) -> AuditSetting:
    """Where the chain `below` puts what stands on it, or whoever attacks it."""
    forget, parts = inputs.suite.file.forget, inputs.split.parts
    return AuditSetting(
        below=tuple(link.defense for link in below),
        condition=condition or inputs.condition(below),
        forget=forget.kind if forget and forgets else "nothing",
        timesteps=inputs.schedule_of(below).T,
        images=len(inputs.split.train),
        pixels=inputs.data.shape[1] * inputs.data.shape[2],
        calibration=len(parts["calibration_in"]) + len(parts["calibration_out"]),
    )


def inapplicable(attack: Attack, place: AuditSetting) -> set[str]:
    """Flags that say why a question makes no sense of what stands there; none where it does."""
    if not attack.applies(place):
        return {"not-applicable"}
    if attack.auxiliary_models() and any(defense.given for defense in place.below):  # nobody knows how it was trained
        return {"not-applicable", "not-trained-here"}
    return set()


def _objection(inputs: RunInputs, below: tuple[ChainLink, ...], link: ChainLink, condition: str) -> str | None:
    defense = link.defense
    if defense.forgets and inputs.suite.file.forget is None:
        return "there is nothing to forget: write a [forget] table with `label` or `share`"
    place = audit_setting(inputs, below, condition, defense.forgets)
    return _of_the_pair(below, defense) or defense.objection(place)


def _refusal(inputs: RunInputs, attack: Attack, point: ReleaseSpec) -> str | None:
    place = audit_setting(inputs, point.chain)
    if inapplicable(attack, place):
        return None
    if any(need.kind == "retrained" for need in attack.auxiliary_models()) and inputs.suite.file.forget is None:
        return "there is nothing to forget: write a [forget] table with `label` or `share`"
    return attack.objection(place)


def _of_the_pair(below: tuple[ChainLink, ...], defense: Defense) -> str | None:
    for link in below:
        if defense.changes != "sampling" and link.defense.changes == "sampling":
            return (
                f"{defense.name} changes weights, and its base {link.id!r} changes only what is answered: "
                f"build {link.id!r} on it instead"
            )
        if defense.changes == "sampling" and defense.walks and not link.defense.walks:
            return (
                f"{defense.name} steers a sampling walk, and its base {link.id!r} chooses among finished samples: "
                f"build {link.id!r} on it instead"
            )
    return None

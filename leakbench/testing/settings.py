"""The simplest setting of a suite in which a plugin can be checked, and the defenses under it there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import get_args

from leakbench.api import Artefacts, Attack, AuditSetting, Defense, Release, Task
from leakbench.models import networks
from leakbench.models.diffusion import Schedule
from leakbench.testing.check import CheckFailed
from leakbench.testing.toys import COUNT, SHAPE, Condition, Forget, toy_release, toy_rng, toy_task


class Plain(Defense):
    """What a defense under check builds on: random weights."""

    name = "plain"

    def fit(self, task: Task) -> Artefacts:
        """Random weights, or other ones for other streams."""
        return Artefacts({"denoiser": networks.build(task.network, toy_rng().of("plain"))})

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """The network, sampled as usual."""
        return task.release(artefacts.networks["denoiser"].eval().requires_grad_(False))


class Forgets(Plain):
    """A step that forgets, under an attack on unlearning."""

    name = "forgets"
    needs_base = True
    forgets = True


def attack_setting(attack: Attack, images: int = COUNT) -> AuditSetting:
    """The simplest setting, of so many training images, in which an attack applies and has no objection. Raises
    CheckFailed if there is none."""
    chain = (Plain(), Forgets()) if attack.family == "unlearning" else (Plain(),)

    def objection(setting: AuditSetting) -> str | None:
        return attack.objection(setting) if attack.applies(setting) else "it applies nowhere"

    return _first_accepted(chain, get_args(Forget), objection, type(attack).objection, images)


def defense_setting(defense: Defense) -> AuditSetting:
    """The simplest setting to which a defense has no objection. Raises CheckFailed if there is none."""
    forget: tuple[Forget, ...] = ("subset", "label") if defense.forgets else ("nothing",)
    below = (Plain(),) if defense.needs_base else ()
    return _first_accepted(below, forget, defense.objection, type(defense).objection)


def defense_task(defense: Defense) -> Task:
    """The toy task of that setting, over a toy release where the defense needs a base."""
    setting = defense_setting(defense)
    base = toy_release(condition=setting.condition) if defense.needs_base else None
    return toy_task(setting.condition, setting.forget, base, setting.below)


def shortened(plugin: type) -> dict[str, int]:
    """Parameters of the shortest training that is one: `steps` is lowered, all else stays at its default."""
    return {"steps": 4} if "steps" in getattr(plugin, "model_fields", {}) else {}


def _first_accepted(
    chain: tuple[Defense, ...],
    forget: tuple[Forget, ...],
    objection: Callable[[AuditSetting], str | None],
    method: Callable[..., str | None],
    images: int = COUNT,
) -> AuditSetting:
    reasons = []
    for condition, what in itertools.product(get_args(Condition), forget):
        setting = AuditSetting(chain, condition, what, Schedule().T, images, SHAPE[1] * SHAPE[2], 2 * COUNT)
        reason = objection(setting)
        if reason is None:
            return setting
        reasons.append(reason)
    raise CheckFailed("a setting of a suite to which it has no objection", f"to the simplest one: {reasons[0]}", method)

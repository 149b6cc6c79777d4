"""The simplest setting of a suite in which a plugin can be checked, and the defenses under it there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

from leakbench.api import Artefacts, Attack, AuditSetting, Defense, Release, Task
from leakbench.models import networks
from leakbench.models.diffusion import Schedule
from leakbench.testing.check import CheckFailed
from leakbench.testing.toys import COUNT, SHAPE, Condition, Forget, toy_release, toy_rng, toy_task


class Plain(Defense):
    """Base of a defense under check: a network of random weights."""

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
    """The simplest setting, of so many training images, in which an attack is run, were every part to ship.

    Raises CheckFailed if there is none.
    """
    chain = (Plain(), Forgets()) if attack.family == "unlearning" else (Plain(),)
    return _first_accepted(attack, chain, get_args(Forget), images)


def defense_setting(defense: Defense) -> AuditSetting:
    """The simplest setting in which a defense can work. Raises CheckFailed if there is none."""
    forget: tuple[Forget, ...] = ("subset", "label") if defense.forgets else ("nothing",)
    return _first_accepted(defense, (Plain(),) if defense.needs_base else (), forget)


def defense_task(defense: Defense, setting: AuditSetting | None = None) -> Task:
    """The toy task of a setting, by default the simplest one, over a toy release where the defense needs a base."""
    setting = setting or defense_setting(defense)
    base = toy_release(condition=setting.condition) if defense.needs_base else None
    return toy_task(setting.condition, setting.forget, base, setting.chain)


def parts_missing(attack: Attack) -> str:
    """Reason of an attack that reads parts, which a toy release does not ship; "" where it reads none."""
    skipped = attack.skip(replace(attack_setting(attack), parts=frozenset()))
    return skipped.reason if skipped else ""


def machine_lacks(attack: Attack) -> str:
    """Reason of an attack that names something which this machine lacks, by a flag such as "lpips-missing"; or ""."""
    skipped = attack.skip(next(_settings((Plain(),), ("nothing",), COUNT)))
    return skipped.reason if skipped and skipped.flags else ""


def shortened(plugin: type) -> dict[str, int]:
    """Parameters of the shortest training that is one: `steps` is lowered, all else stays at its default."""
    return {"steps": 4} if "steps" in getattr(plugin, "model_fields", {}) else {}


def _first_accepted(
    plugin: Attack | Defense, chain: tuple[Defense, ...], forget: tuple[Forget, ...], images: int = COUNT
) -> AuditSetting:
    reasons = []
    for setting in _settings(chain, forget, images):
        skipped = plugin.skip(setting)
        if skipped is None:
            return setting
        reasons.append(skipped.reason)
    got = f"none; in the simplest one: {reasons[0]}"
    raise CheckFailed("a setting of a suite in which it is not skipped", got, type(plugin).skip)


def _settings(chain: tuple[Defense, ...], forget: tuple[Forget, ...], images: int) -> Iterator[AuditSetting]:
    """Settings that a suite could offer, the simplest first."""
    for condition, what in itertools.product(get_args(Condition), forget):
        yield AuditSetting(chain, condition, what, Schedule().T, images, SHAPE[1] * SHAPE[2], 2 * COUNT)

"""A tiny model of random images, on which plugins are checked."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from leakbench.api import Artefacts, Attack, AuditSetting, Defense, Release, Task
from leakbench.data.image_view import ImageView
from leakbench.models import networks
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng

COUNT = 24
SHAPE = (1, 8, 8)
CLOSE: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-4}

Check = tuple[str, Callable[[], bool]]

_CONDITIONS = ("none", "label", "attribute")
_FORGET: tuple[Literal["nothing", "label", "subset"], ...] = ("nothing", "subset", "label")


def images(count: int, purpose: str) -> Tensor:
    """Random images with some structure: blurred noise in [-1, 1]."""
    noise = streams().of("conformance", purpose).normal(torch.arange(count), SHAPE)
    return torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1).mul(2.0).clamp(-1, 1)


def streams() -> Rng:
    return Rng("conformance", 0)


def settings(plugin: type[Defense]) -> Iterator[AuditSetting]:
    """Settings that a suite could offer, the plainest first."""
    forget: tuple[Literal["nothing", "label", "subset"], ...] = ("subset", "label") if plugin.forgets else ("nothing",)
    for condition, what in itertools.product(_CONDITIONS, forget):
        yield AuditSetting(chain_below(plugin), condition, what, Schedule().T, COUNT)


def chain_below(plugin: type[Defense]) -> tuple[Defense, ...]:
    return (Plain(),) if plugin.needs_base else ()


class Plain(Defense):
    """What a defense under check builds on: random weights, or those that it asks to be trained again."""

    name = "plain"

    def fit(self, task: Task) -> Artefacts:
        return Artefacts({"denoiser": networks.build(task.network, streams().of("plain"))})

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        return task.release(artefacts.networks["denoiser"].eval().requires_grad_(False))


def task_of(setting: AuditSetting, base: Release | None) -> Task:
    label = setting.forget == "label"
    return Task(
        images=ImageView(images(COUNT, "images")),
        labels=torch.arange(COUNT) % 2,
        attribute=torch.arange(COUNT) % 2,
        condition=setting.condition,
        forget=None if setting.forget == "nothing" else torch.arange(COUNT) % (2 if label else 4) == 0,
        forget_label=0 if label else None,
        chain=setting.chain,
        near_duplicates=torch.arange(COUNT),
        heldout=ImageView(images(COUNT, "held-out")),
        network=spec(setting.condition),
        schedule=Schedule(steps=5),
        streams=streams(),
        device=torch.device("cpu"),
        base=base,
    )


def spec(condition: str) -> NetworkSpec:
    return NetworkSpec(kind="mlp", shape=SHAPE, width=32, blocks=1, conditions=0 if condition == "none" else 2)


def setting_for(attack: Attack) -> AuditSetting:
    """The plainest setting in which the attack is run, were every part to ship. Raises ValueError if there is none."""
    pixels, reasons = SHAPE[1] * SHAPE[2], []
    for condition, forget in itertools.product(_CONDITIONS, _FORGET):
        setting = AuditSetting((Plain(),), condition, forget, Schedule().T, COUNT, pixels, 2 * COUNT)
        found = attack.skip(setting)
        if found is None:
            return setting
        reasons.append(found.reason)
    raise ValueError(f"it is skipped in every setting: {reasons[-1]}")


def parts_missing(attack: Attack) -> str:
    """Reason of an attack that reads parts, which the toy release does not ship; empty where it reads none."""
    found = attack.skip(replace(setting_for(attack), parts=frozenset()))
    return found.reason if found else ""


def plain(batch: int = 16, condition: str = "none", weights: str = "plain") -> Release:
    """A release of random weights; `weights` names which."""
    network = networks.build(spec(condition), streams().of(weights)).eval().requires_grad_(False)
    task = task_of(AuditSetting((), condition, "nothing", Schedule().T, COUNT), None)
    return task.release(network, batch=batch)

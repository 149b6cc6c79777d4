"""Checks of a defense."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor

from leakbench.api import Artefacts, AuditSetting, Defense, Release, Task
from leakbench.models.artefact_io import load_artefacts, save_artefacts
from leakbench.models.diffusion import full_timesteps
from leakbench.testing.toy_model import CLOSE, SHAPE, Check, images, plain, settings, task_of


class DefenseChecks:
    """Checks of a defense, on top of a plain release where it needs a base."""

    def __init__(self, plugin: type[Defense]) -> None:
        self.plugin = plugin
        # The shortest training that is one: parameters called steps are lowered, whatever else stays at its default.
        few = {"steps": 4} if "steps" in plugin.model_fields else {}
        self.make = lambda: plugin(**few)

    @property
    def _setting(self) -> AuditSetting:
        """The plainest setting in which the defense can work."""
        reasons = []
        for setting in settings(self.plugin):
            found = self.make().skip(setting)
            if found is None:
                return setting
            reasons.append(found.reason)
        raise ValueError(f"it cannot work in any setting: {reasons[0]}")

    def task(self) -> Task:
        setting = self._setting
        return task_of(setting, plain(condition=setting.condition) if self.plugin.needs_base else None)

    def _released(self) -> Release:
        task = self.task()
        defense = self.make()
        with tempfile.TemporaryDirectory() as folder:
            save_artefacts(defense.fit(task), Path(folder))
            made = load_artefacts(Path(folder), task.device)
        return defense.release(made, task)

    def checks(self) -> Iterator[Check]:
        yield "it fits, its artefacts survive the disk, and it releases", lambda: isinstance(self._released(), Release)
        yield "it declares the parts that its release ships", lambda: set(self._released().parts) == self.plugin.ships
        yield "fit does not depend on sampling-stage parameters", self._fits_alike
        yield "eps has the shape of x and is finite", self._eps
        yield "eps does not depend on batch mates or their order", self._eps_alone
        yield "samples are images in [-1, 1], finite, as many as asked for", self._samples
        yield "fitting and sampling twice gives the same bits", self._repeatable
        yield "claims, info and facts are JSON", self._json

    def _fits_alike(self) -> bool:
        """Fit at the defaults and with every sampling-stage number changed: the same bits must come out."""
        task = self.task()
        defense = self.make()
        first = defense.fit(task)
        for name in self.plugin.fields_of("sampling"):
            value = getattr(defense, name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                other = {"steps": defense.steps} if "steps" in self.plugin.model_fields else {}  # type: ignore[attr-defined]
                for changed in (value + 1, value / 2, value - 1):
                    with suppress(ValidationError):  # out of this parameter's range: the next may be within
                        second = self.plugin(**(other | {name: type(value)(changed)}))
                        if not same(first, second.fit(task)):
                            return False
        return True

    def _eps(self) -> bool:
        x = images(7, "x")
        release = self._released()
        answer = release.eps(x, full_timesteps(100, x), _labels(release, x))
        return answer.shape == x.shape and bool(torch.isfinite(answer).all())

    def _eps_alone(self) -> bool:
        release, x = self._released(), images(7, "x")
        order = torch.tensor([6, 0, 3])
        label = _labels(release, x)
        together = release.eps(x, full_timesteps(100, x), label)
        alone = release.eps(x[order], full_timesteps(100, x[order]), None if label is None else label[order])
        return torch.allclose(together[order], alone, **CLOSE)

    def _samples(self) -> bool:
        images = self._released().sample(19)
        return images.shape == (19, *SHAPE) and bool((images.abs() <= 1).all()) and images.dtype == torch.float32

    def _repeatable(self) -> bool:
        return torch.equal(self._released().sample(5), self._released().sample(5))

    def _json(self) -> bool:
        import json

        release = self._released()
        release.sample(5)
        return bool(json.dumps([release.guarantee, release.info, release.facts()]))


def _labels(release: Release, x: Tensor) -> Tensor | None:
    return torch.arange(len(x)) % release.conditions if release.conditions else None


def same(a: Artefacts, b: Artefacts) -> bool:
    weights = (
        {f"{n}.{k}": v for n, net in made.networks.items() for k, v in net.state_dict().items()} for made in (a, b)
    )
    first, second = (made | kept for made, kept in zip(weights, (a.tensors, b.tensors), strict=True))
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)

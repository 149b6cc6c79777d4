"""Checks of a defense, on top of a toy release where it needs a base."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from leakbench.api import Access, Artefacts, AuditSetting, Defense, PretrainedModel, Release, Task
from leakbench.models.artefact_io import load_artefacts, save_artefacts
from leakbench.models.diffusion import full_timesteps
from leakbench.testing.check import CLOSE, Check, CheckFailed, expect, expect_finite, expect_images, expect_same
from leakbench.testing.settings import defense_setting, defense_task, shortened
from leakbench.testing.source_lines import answering_method
from leakbench.testing.toys import SHAPE, toy_images

_T = 100  # of the questions
_RANDOM = " (random answers are drawn with self.answer_noise(x, t, label))"


def defense_checks(plugin: type[Defense]) -> Iterator[Check]:
    """Checks of fit and release; a defense whose model was handed in from outside has nothing to be tried on."""
    if issubclass(plugin, PretrainedModel):
        return
    run = _ToyRun(plugin)
    fit, release = plugin.fit, plugin.release
    yield Check("it fits, its artefacts survive the disk, and it releases", lambda: run.release, release)
    yield Check("it declares the parts that its release ships", lambda: _ships(run), release)
    yield Check("fit does not depend on release-stage parameters", lambda: _fits_alike(run), fit)
    if plugin.offers >= Access.DENOISER:
        yield Check("eps has the shape of x and is finite", lambda: _eps(run), release)
        yield Check("eps answers the same question alike", lambda: _eps_again(run), release)
        yield Check("eps does not depend on batch mates or their order", lambda: _eps_alone(run), release)
    yield Check("samples are images in [-1, 1], finite, as many as asked for", lambda: _samples(run), release)
    yield Check("fitting and sampling twice gives the same bits", lambda: _repeatable(run), release)
    yield Check("guarantee, info and facts are JSON", lambda: _json(run), release)


@dataclass
class _ToyRun:
    """A defense fitted and released once for all checks."""

    plugin: type[Defense]

    @cached_property
    def defense(self) -> Defense:
        """The defense, with the shortest training that is one."""
        return self.plugin(**shortened(self.plugin))

    @cached_property
    def setting(self) -> AuditSetting:
        """The simplest setting in which the defense can work."""
        return defense_setting(self.defense)

    @property
    def task(self) -> Task:
        """A new task, so that nothing is handed from one fit to the next."""
        return defense_task(self.defense, self.setting)

    @cached_property
    def artefacts(self) -> Artefacts:
        """Artefacts that fit made."""
        made = self.defense.fit(self.task)
        expect(isinstance(made, Artefacts), "fit to return Artefacts", type(made).__name__, self.plugin.fit)
        return made

    @cached_property
    def release(self) -> Release:
        """The release of these artefacts, saved and loaded."""
        return self.released(self.artefacts)

    def released(self, artefacts: Artefacts) -> Release:
        """The release of artefacts that were saved and loaded."""
        task = self.task
        with tempfile.TemporaryDirectory() as folder:
            save_artefacts(artefacts, Path(folder))
            loaded = load_artefacts(Path(folder), task.device)
        found = self.defense.release(loaded, task)
        expect(isinstance(found, Release), "release to return a Release", type(found).__name__, self.plugin.release)
        return found

    def method(self, *names: str) -> Callable[..., Any]:
        """The first of these methods of the release that the defense wrote itself, else its `release`."""
        found = (answering_method(self.release, name, self.plugin.release) for name in names)
        return next((one for one in found if one is not self.plugin.release), self.plugin.release)


def _fits_alike(run: _ToyRun) -> None:
    """Fit at the defaults and with every release-stage number changed: the same bits must come out."""
    few = shortened(run.plugin)
    for name in sorted(run.plugin.parameters_of_stage("release")):
        value = getattr(run.defense, name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            for changed in (value + 1, value / 2, value - 1):
                with suppress(ValidationError):  # out of this parameter's range: the next may be within
                    other = run.plugin(**(few | {name: type(value)(changed)}))
                    if not same_artefacts(run.artefacts, other.fit(run.task)):
                        words = f"other artefacts at {name} = {value:g} and at {name} = {changed:g}"
                        raise CheckFailed("the same artefacts, bit for bit", words, run.plugin.fit)


def _ships(run: _ToyRun) -> None:
    declared, shipped = sorted(run.plugin.ships), sorted(run.release.parts)
    expect(declared == shipped, f"ships = frozenset({shipped})", f"frozenset({declared})", run.plugin.release)


def _eps(run: _ToyRun) -> None:
    x = toy_images(7, "x")
    answer, method = _answer(run.release, x), run.method("eps")
    expect(answer.shape == x.shape, f"eps of shape {tuple(x.shape)}", str(tuple(answer.shape)), method)
    expect_finite(answer, "image", method)


def _eps_again(run: _ToyRun) -> None:
    x, method = toy_images(7, "x"), run.method("eps")
    ways = ("when asked once", "when asked again")
    expect_same(_answer(run.release, x), _answer(run.release, x), "image", ways, method, _RANDOM)


def _eps_alone(run: _ToyRun) -> None:
    x, order = toy_images(7, "x"), torch.tensor([6, 0, 3])
    together, alone = _answer(run.release, x), _answer(run.release, x, order)
    ways = ("among seven", "among three, in another order")
    expect_same(together[order], alone, "image", ways, run.method("eps"), **CLOSE)


def _answer(release: Release, x: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
    label = torch.arange(len(x)) % release.conditions if release.conditions else None
    with torch.no_grad():
        return release.eps(x[rows], full_timesteps(_T, x[rows]), None if label is None else label[rows])


def _samples(run: _ToyRun) -> None:
    expect_images(run.release.sample(19), 19, SHAPE, run.method("generate", "eps"))


def _repeatable(run: _ToyRun) -> None:
    again = run.defense.fit(run.task)
    alike = same_artefacts(run.artefacts, again)
    expect(alike, "the same artefacts of two fits, bit for bit", "others", run.plugin.fit)
    first, second = run.release.sample(5), run.released(again).sample(5)
    ways = ("of one release", "of another")
    expect_same(first, second, "sample", ways, run.method("generate", "eps"), _RANDOM)


def _json(run: _ToyRun) -> None:
    run.release.sample(5)
    for name, value in (
        ("guarantee", run.release.guarantee.to_json()),
        ("info", run.release.info),
        ("facts()", run.release.facts()),
    ):
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise CheckFailed(f"{name} that JSON can hold", str(error), run.plugin.release) from error


def same_artefacts(first: Artefacts, second: Artefacts) -> bool:
    """Networks and tensors of the same names and bits."""
    a, b = _tensors(first), _tensors(second)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def _tensors(made: Artefacts) -> dict[str, Tensor]:
    weights = {f"{n}.{k}": v for n, net in made.networks.items() for k, v in net.state_dict().items()}
    return weights | made.tensors

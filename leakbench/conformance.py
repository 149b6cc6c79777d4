"""The conformance suite: what every attack and defense owes the harness, checked on a tiny model of random images.

parameters validate; a tiny run works; shapes and dtypes hold; scores are finite; batch size and order do not change
them; the declared access suffices.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from leakbench import networks
from leakbench.api import (
    Access,
    Artefacts,
    Attack,
    Defense,
    MembershipAttack,
    Place,
    Plugin,
    Release,
    ReplicationAttack,
    Task,
)
from leakbench.device import Streams
from leakbench.diffusion import Schedule, at
from leakbench.networks import NetworkSpec
from leakbench.scoring import Asked, Images, Target, collect
from leakbench.workbench import load_artefacts, save_artefacts

_COUNT = 24
_SHAPE = (1, 8, 8)
_CLOSE: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-4}

Check = tuple[str, Callable[[], bool]]


def check(plugin: type[Plugin]) -> Iterator[tuple[bool, str]]:
    """(passed, what was checked) one after the other; a check that raises has failed, and says how."""
    torch.set_num_threads(1)
    if issubclass(plugin, Defense):
        checks = [*_of_parameters(plugin), *_Defense(plugin).checks()]
    elif issubclass(plugin, MembershipAttack):
        checks = [*_of_parameters(plugin), *_Membership(plugin).checks()]
    elif issubclass(plugin, ReplicationAttack):
        checks = [*_of_parameters(plugin), *_Replication(plugin).checks()]
    else:
        checks = [("it is a Defense, a MembershipAttack or a ReplicationAttack", lambda: False)]
    for words, question in checks:
        try:
            yield bool(question()), words
        except Exception as error:
            yield False, f"{words} ({type(error).__name__}: {error})"


def _of_parameters(plugin: type[Plugin]) -> Iterator[Check]:
    yield "it has a name and a summary", lambda: bool(plugin.name and plugin.summary)
    yield "its defaults are valid, and it is frozen", lambda: _refuses(lambda: setattr(plugin(), "anything", 1))
    yield "an unknown parameter is refused", lambda: _refuses(lambda: plugin(no_such_parameter=1))  # type: ignore[call-arg]
    if issubclass(plugin, Attack):
        yield "it declares family and access", lambda: bool(plugin.family) and plugin.access in Access
    else:
        marked = plugin.fields_of("training") | plugin.fields_of("sampling")
        yield "every parameter is marked training or sampling", lambda: marked == set(plugin.model_fields)


def _refuses(action: Callable[[], Any]) -> bool:
    try:
        action()
    except ValidationError:
        return True
    return False


def _images(count: int, purpose: str) -> Tensor:
    """Random images with some structure: blurred noise in [-1, 1]."""
    noise = _streams().of("conformance", purpose).normal(torch.arange(count), _SHAPE)
    return torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1).mul(2.0).clamp(-1, 1)


def _streams() -> Streams:
    return Streams("conformance", 0)


def _places(plugin: type[Defense]) -> Iterator[Place]:
    """What a suite could offer, the plainest first."""
    forget: tuple[Literal["nothing", "label", "subset"], ...] = ("subset", "label") if plugin.forgets else ("nothing",)
    for condition, what in itertools.product(("none", "label", "attribute"), forget):
        yield Place(_below(plugin), condition, what, Schedule().T, _COUNT)


def _below(plugin: type[Defense]) -> tuple[Defense, ...]:
    return (_Plain(),) if plugin.needs_base else ()


class _Plain(Defense):
    """What a defense under check builds on: random weights, or those that it asks to be trained again."""

    name = "plain"

    def fit(self, task: Task) -> Artefacts:
        return Artefacts({"denoiser": networks.build(task.network, _streams().of("plain"))})

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        return Release.of(task, artefacts.networks["denoiser"].eval().requires_grad_(False))


def _task(place: Place, base: Release | None) -> Task:
    images = _images(_COUNT, "images")
    label = place.forget == "label"
    return Task(
        images=images,
        labels=torch.arange(_COUNT) % 2,
        attribute=torch.arange(_COUNT) % 2,
        condition=place.condition,
        forget=None if place.forget == "nothing" else torch.arange(_COUNT) % (2 if label else 4) == 0,
        forget_label=0 if label else None,
        below=place.below,
        groups=torch.arange(_COUNT),
        heldout=_images(_COUNT, "held-out"),
        network=_spec(place.condition),
        schedule=Schedule(steps=5),
        streams=_streams(),
        device=torch.device("cpu"),
        base=base,
    )


def _spec(condition: str) -> NetworkSpec:
    return NetworkSpec(kind="mlp", shape=_SHAPE, width=32, blocks=1, conditions=0 if condition == "none" else 2)


def _plain(batch: int = 16, condition: str = "none") -> Release:
    network = networks.build(_spec(condition), _streams().of("plain")).eval().requires_grad_(False)
    task = _task(Place((), condition, "nothing", Schedule().T, _COUNT), None)
    return Release.of(task, network, batch=batch)


class _Defense:
    """Checks of a defense, on top of a plain release where it needs a base."""

    def __init__(self, plugin: type[Defense]) -> None:
        self.plugin = plugin
        # The shortest training that is one: parameters called steps are lowered, whatever else stays at its default.
        few = {"steps": 4} if "steps" in plugin.model_fields else {}
        self.make = lambda: plugin(**few)

    @property
    def _place(self) -> Place:
        """The plainest place where the defense has no objection."""
        objections = []
        for place in _places(self.plugin):
            objections.append(self.make().objection(place))
            if objections[-1] is None:
                return place
        raise ValueError(f"it objects to every place: {objections[0]}")

    def _task(self) -> Task:
        place = self._place
        return _task(place, _plain(condition=place.condition) if self.plugin.needs_base else None)

    def _released(self) -> Release:
        task = self._task()
        defense = self.make()
        with tempfile.TemporaryDirectory() as folder:
            save_artefacts(defense.fit(task), Path(folder))
            made = load_artefacts(Path(folder), task.device)
        return defense.release(made, task)

    def checks(self) -> Iterator[Check]:
        yield "it fits, its artefacts survive the disk, and it releases", lambda: isinstance(self._released(), Release)
        yield "fit does not depend on sampling-stage parameters", self._fits_alike
        yield "eps has the shape of x and is finite", self._eps
        yield "eps does not depend on batch mates or their order", self._eps_alone
        yield "samples are images in [-1, 1], finite, as many as asked for", self._samples
        yield "fitting and sampling twice gives the same bits", self._repeatable
        yield "claims, info and facts are JSON", self._json

    def _fits_alike(self) -> bool:
        """Fit at the defaults and with every sampling-stage number changed: the same bits must come out."""
        task = self._task()
        defense = self.make()
        first = defense.fit(task)
        for name in self.plugin.fields_of("sampling"):
            value = getattr(defense, name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                other = {"steps": defense.steps} if "steps" in self.plugin.model_fields else {}  # type: ignore[attr-defined]
                for changed in (value + 1, value / 2, value - 1):
                    with suppress(ValidationError):  # out of this parameter's range: the next may be within
                        second = self.plugin(**(other | {name: type(value)(changed)}))
                        if not _same(first, second.fit(task)):
                            return False
        return True

    def _eps(self) -> bool:
        x = _images(7, "x")
        release = self._released()
        answer = release.eps(x, at(100, x), _labels(release, x))
        return answer.shape == x.shape and bool(torch.isfinite(answer).all())

    def _eps_alone(self) -> bool:
        release, x = self._released(), _images(7, "x")
        order = torch.tensor([6, 0, 3])
        label = _labels(release, x)
        together = release.eps(x, at(100, x), label)
        alone = release.eps(x[order], at(100, x[order]), None if label is None else label[order])
        return torch.allclose(together[order], alone, **_CLOSE)

    def _samples(self) -> bool:
        images = self._released().sample(19)
        return images.shape == (19, *_SHAPE) and bool((images.abs() <= 1).all()) and images.dtype == torch.float32

    def _repeatable(self) -> bool:
        return torch.equal(self._released().sample(5), self._released().sample(5))

    def _json(self) -> bool:
        import json

        release = self._released()
        release.sample(5)
        return bool(json.dumps([release.claims, release.info, release.facts()]))


def _labels(release: Release, x: Tensor) -> Tensor | None:
    return torch.arange(len(x)) % release.conditions if release.conditions else None


def _same(a: Artefacts, b: Artefacts) -> bool:
    weights = (
        {f"{n}.{k}": v for n, net in made.networks.items() for k, v in net.state_dict().items()} for made in (a, b)
    )
    first, second = (made | kept for made, kept in zip(weights, (a.tensors, b.tensors), strict=True))
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


class _Membership:
    """Checks of a membership attack, through a view of its own access level."""

    def __init__(self, plugin: type[MembershipAttack]) -> None:
        self.plugin = plugin

    def _scores(self, batch: int = 16, reverse: bool = False) -> np.ndarray:
        release = _plain(batch)
        attack = self.plugin()
        names = ("member", "nonmember", "calibration_in", "calibration_out")
        parts = {}
        for number, name in enumerate(names):
            ids = torch.arange(_COUNT) + number * _COUNT
            rows = torch.arange(_COUNT - 1, -1, -1) if reverse and number < 2 else torch.arange(_COUNT)
            parts[name] = Images(_images(_COUNT, name)[rows], ids[rows], None)
        target = Target(release, release.sample(8), _streams(), self._others(release))
        found, queries = collect(target, {"it": Asked(attack, attack.access is Access.WEIGHTS)}, parts)
        self.queries = queries["it"]
        scores = np.concatenate([found["it"].member_scores[::-1], found["it"].nonmember_scores[::-1]])
        return scores if reverse else np.concatenate([found["it"].member_scores, found["it"].nonmember_scores])

    def _others(self, release: Release) -> dict[str, Any]:
        rows = np.arange(0, 4 * _COUNT, 2)
        return {need.name: (release.eps, rows) for need in self.plugin().needs()}

    def checks(self) -> Iterator[Check]:
        if self.plugin.requires_parts:
            yield f"it runs where {', '.join(sorted(self.plugin.requires_parts))} ship (not checked here)", lambda: True
            return
        yield (
            "a view of its access level suffices, it scores every image and writes to none",
            lambda: bool(len(self._scores())),
        )
        yield "scores are finite", lambda: bool(np.isfinite(self._scores()).all())
        yield "scores are the same twice", lambda: np.array_equal(self._scores(), self._scores())
        yield "batch size does not change them", lambda: np.allclose(self._scores(16), self._scores(5), **_CLOSE)
        yield "order does not change them", lambda: np.allclose(self._scores(), self._scores(reverse=True), **_CLOSE)
        yield "queries are counted where the access allows any", self._counted

    def _counted(self) -> bool:
        self._scores()
        return self.queries > 0 or self.plugin.access in (Access.NONE, Access.SAMPLES, Access.WEIGHTS)


class _Replication:
    """Checks of a replication attack: a planted copy must be found."""

    def __init__(self, plugin: type[ReplicationAttack]) -> None:
        self.plugin = plugin

    def _match(self, queries: Tensor) -> Any:
        return self.plugin().match(queries, _images(_COUNT, "train"), lambda images: images.flatten(1))

    def checks(self) -> Iterator[Check]:
        queries = _images(9, "queries")
        planted = torch.cat([queries, _images(_COUNT, "train")[5:6]])
        order = torch.arange(8, -1, -1)
        yield "every query is matched with a training image", lambda: self._shapes(self._match(queries))
        yield "similarities are finite", lambda: bool(np.isfinite(self._match(queries).similarity).all())
        yield "a planted copy is found and is the most similar", lambda: self._found(self._match(planted))
        yield (
            "order does not change them",
            lambda: np.allclose(
                self._match(queries).similarity, self._match(queries[order]).similarity[::-1], **_CLOSE
            ),
        )

    def _shapes(self, match: Any) -> bool:
        return len(match.index) == len(match.similarity) == 9 and bool(
            ((match.index >= 0) & (match.index < _COUNT)).all()
        )

    def _found(self, match: Any) -> bool:
        return int(match.index[-1]) == 5 and int(np.argmax(match.similarity)) == len(match.similarity) - 1

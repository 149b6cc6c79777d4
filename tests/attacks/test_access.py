"""Every registered attack: it touches no more than its access allows, and learns by nothing that it is judged by."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch

from leakbench.api import Access, Calibration, ImageSet, MembershipAttack
from leakbench.api.answer_cache import QueriedRelease
from leakbench.api.views import VIEWS, NoneView, WeightsView
from leakbench.data.image_batch import Images
from leakbench.measurement import membership_evidence, query_engine
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.models import networks
from leakbench.models.networks import NetworkSpec
from leakbench.models.training import loop
from leakbench.runtime import registry
from leakbench.testing.settings import attack_setting
from leakbench.testing.toys import SHAPE, toy_images, toy_release, toy_rng

COUNT = 12
PARTS = ("member", "nonmember", "calibration_in", "calibration_out", "reference")
REPORTED = set(range(2 * COUNT))
MARK = 0.98765  # in one pixel of every reported image, and of no other
ATTACKS = {
    name: kind
    for name in registry.names("attacks")
    if issubclass(kind := registry.find("attacks", name), MembershipAttack)
}


class Overreach(Exception):
    """An attack touched what its access does not allow. No AttributeError, which hasattr would swallow."""


@cache
def guarded(access: Access) -> type[NoneView]:
    """The view of a level, on which what belongs to a higher one raises; and what is private, but for the harness."""
    kind = VIEWS[access]
    higher = {name for name in dir(WeightsView) if not name.startswith("_")} - set(dir(kind))

    def __getattribute__(self, name: str) -> Any:
        caller = sys._getframe(1).f_globals["__name__"]
        harness = caller.startswith("leakbench.") and not caller.startswith("leakbench.attacks.")
        if name in higher or (name.startswith("_") and not name.startswith("__") and not harness):
            raise Overreach(f"{caller} asked a view of {access.name} for {name}")
        return object.__getattribute__(self, name)

    return type(f"Guarded{kind.__name__}", (kind,), {"__getattribute__": __getattribute__})


class Unlabelled(Calibration):
    """What an attack gets that does not say it learns from membership labels."""

    def __getattribute__(self, name: str) -> Any:
        if name == "is_member":
            raise Overreach("membership labels were read by an attack that says it learns without")
        return object.__getattribute__(self, name)


@dataclass
class Spy:
    """Records every image that a fit is given or can ask about, with its number, and every membership label."""

    seen: list[torch.Tensor] = field(default_factory=list)
    ids: set[int] = field(default_factory=set)
    members: list[np.ndarray] = field(default_factory=list)
    fits: int = 0

    def group(self, *given: Any, **named: Any) -> ImageSet:
        group = ImageSet(*given, **named)
        self.seen.append(group.images)
        return dataclasses.replace(group, ask=partial(self._ask, group.ask))

    def _ask(self, ask: Callable, question: Callable) -> torch.Tensor:
        def watched(view: NoneView, batch: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
            self.seen.append(batch)
            self.ids |= set(view.ids.tolist())  # shadow models are masked by these numbers too
            return question(view, batch, labels)

        return ask(watched)

    def calibration(self, labelled: bool) -> Callable[..., Calibration]:
        def make(*given: Any, **named: Any) -> Calibration:
            made = (Calibration if labelled else Unlabelled)(*given, **named)
            self.members.append(Calibration(*given, **named).is_member)
            self.seen.append(made.images)
            self.fits += 1
            return made

        return make

    @property
    def saw_a_mark(self) -> bool:
        return any(bool((pictures[:] == torch.tensor(MARK)).any()) for pictures in self.seen)


def split(condition: str) -> dict[str, Images]:
    parts = {}
    for number, name in enumerate(PARTS):
        pictures = toy_images(COUNT, name)
        assert not bool((pictures == torch.tensor(MARK)).any())
        if name in PARTS[:2]:
            pictures[:, 0, 3, 5] = MARK
        rows = torch.arange(COUNT)
        parts[name] = Images(pictures, rows + number * COUNT, None if condition == "none" else rows % 2)
    return parts


def target(attack: MembershipAttack, condition: str) -> AttackTarget:
    classifier = networks.build(
        NetworkSpec(kind="mlp", shape=SHAPE, width=16, blocks=1, outputs="logit"), toy_rng().of("c")
    )
    release = dataclasses.replace(
        toy_release(COUNT, condition), parts={"classifier": classifier.eval().requires_grad_(False)}
    )
    others = {}
    for need in attack.auxiliary_models():
        other = toy_release(COUNT, condition, weights=need.name)
        rows = np.random.default_rng(need.draw).permutation(4 * COUNT)[: 2 * COUNT]
        others[need.name] = AuxiliaryRelease(QueriedRelease(other, partial(other.sample, 8)), rows)
    return AttackTarget(QueriedRelease(release, partial(release.sample, 8)), toy_rng(), others)


def run(attack: MembershipAttack, parts: dict[str, Images] | None = None) -> tuple[np.ndarray, Spy]:
    """Scores of the reported images, through guarded views; and what a spy saw of the fits."""
    spy, condition = Spy(), attack_setting(attack).condition
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(query_engine, "VIEWS", {access: guarded(access) for access in Access})
        patch.setattr(membership_evidence, "ImageSet", spy.group)
        patch.setattr(membership_evidence, "Calibration", spy.calibration(attack.out_of_fold))
        patch.setattr(loop, "optimise", partial(shorter, loop.optimise))
        asked = {"": AttackRequest(attack, attack.access is Access.WEIGHTS)}
        found = collect_membership_evidence(target(attack, condition), asked, parts or split(condition), folds=2)[0][""]
    return np.concatenate([found.member_scores, found.nonmember_scores]), spy


def shorter(optimise: Callable, module: torch.nn.Module, rule: Any, recipe: Any, *rest: Any, **more: Any) -> Any:
    """Training of a few steps: what is learnt does not matter here."""
    return optimise(module, rule, dataclasses.replace(recipe, steps=min(10, recipe.steps)), *rest, **more)


@cache
def run_once(name: str) -> tuple[np.ndarray, Spy]:
    return run(ATTACKS[name]())


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_makes_do_with_what_its_access_allows(name):
    scores, _ = run_once(name)
    assert scores.shape == (2 * COUNT,) and np.isfinite(scores).all()


@pytest.mark.parametrize("name", [name for name, kind in ATTACKS.items() if kind().learns])
def test_no_fit_sees_a_reported_image_its_number_or_its_label(name):
    _, spy = run_once(name)
    assert spy.fits == (3 if ATTACKS[name]().out_of_fold else 1) and spy.seen
    assert not spy.saw_a_mark and not spy.ids & REPORTED
    truth = np.repeat([True, False], COUNT)  # of calibration images, which are all that is labelled
    assert any(np.array_equal(member, truth) for member in spy.members)
    assert all(len(member) <= len(truth) and member.any() and not member.all() for member in spy.members)


class Greedy(MembershipAttack):
    """Asks for one thing that the test chooses."""

    name = "greedy"
    access = Access.API
    wants: str = "eps"

    def score(self, view: Any, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        getattr(view, self.wants, None)
        return images.flatten(1).sum(dim=1)


class Peeking(Greedy):
    """Reads the labels of its calibration, and says that it does not."""

    learns_from = "public"

    def fit(self, calibration: Calibration) -> Peeking:
        assert len(calibration.is_member)
        return self


class Curious(Greedy):
    """Asks about all images that it may ask about."""

    wants: str = "vary"

    def fit(self, calibration: Calibration) -> Curious:
        calibration.ask(self.score)
        calibration.public.ask(self.score)
        return self


@pytest.mark.parametrize(
    "wants", ["eps", "noised", "ddim", "schedule", "network", "parts", "release", "_memory", "_release"]
)
def test_the_guard_stops_an_attack_that_wants_more(wants):
    with pytest.raises(Overreach, match=f"asked a view of API for {wants}"):
        run(Greedy(wants=wants))


@pytest.mark.parametrize("wants", ["vary", "inpaint", "sample", "samples", "others", "stream", "ids"])
def test_the_guard_lets_through_what_belongs_to_a_level(wants):
    run(Greedy(wants=wants))


def test_the_guard_stops_an_attack_that_reads_labels_it_does_not_declare():
    with pytest.raises(Overreach, match="membership labels"):
        run(Peeking())


def test_the_spy_finds_a_mark_that_is_there():
    _, spy = run(Curious())
    assert not spy.saw_a_mark and spy.ids == set(range(2 * COUNT, 5 * COUNT))
    leaky = split("none")
    leaky["calibration_out"] = leaky["nonmember"]
    _, spy = run(Curious(), leaky)
    assert spy.saw_a_mark and spy.ids & REPORTED


def test_every_level_is_guarded():
    assert {kind.access for kind in ATTACKS.values()} == set(Access)
    assert {kind().learns_from for kind in ATTACKS.values()} == {"calibration", "public", "shadows"}

"""Scores do not depend on batches; calibration scores of a learner are out of fold; attacks get the releases needed."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import PrivateAttr
from sklearn.metrics import roc_auc_score

from leakbench.api import Access, Artefacts, AuxiliaryModel, Calibration, Defense, MembershipAttack, Release, Task
from leakbench.api.views import DenoiserView, QueryCount
from leakbench.data.image_batch import Images
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.membership import randomised
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, CallCount
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec, build
from leakbench.runner.plan import Plan
from leakbench.runtime.device import Rng
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.file import SuiteFile
from leakbench.suite.release_spec import ChainLink, ReleaseSpec
from leakbench.suite.suite import Suite

SHAPE = (1, 8, 8)
STREAMS = Rng("test", 0)
PARTS = ("member", "nonmember", "calibration_in", "calibration_out")


class Error(MembershipAttack):
    """Two network calls; the score depends on shared noise and on the image."""

    name = "error"
    access = Access.DENOISER

    def score(self, view: DenoiserView, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        first = (view.eps(view.noised(100), 100) - view.noise()).square().flatten(1).sum(dim=1)
        return -first - view.eps(images, 0).abs().flatten(1).sum(dim=1)


class Memoriser(MembershipAttack):
    """Knows every image that it was fitted on by heart, and nothing else."""

    name = "memoriser"
    access = Access.DENOISER
    _known: Any = PrivateAttr(default=None)

    def fit(self, calibration: Calibration) -> Memoriser:
        fitted = copy.copy(self)
        keys = [image.numpy().tobytes() for image in calibration.images]
        fitted._known = dict(zip(keys, calibration.is_member * 2.0 - 1.0, strict=True))
        plain = calibration.ask(Error().score)
        assert plain.shape == (len(calibration.images),) and plain.isfinite().all()
        return fitted

    def score(self, view: Any, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        unsure = [float(x.mean()) for x in images]  # below 1 in size
        return torch.tensor([self._known.get(x.numpy().tobytes(), u) for x, u in zip(images, unsure, strict=True)])


class Guided(Release):
    def eps(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return super().eps(x, t, label) + 0.1 * torch.sin(3 * x)


def target(batch: int, kind: type[Release] = Release) -> AttackTarget:
    network = build(NetworkSpec(kind="mlp", shape=SHAPE, width=32, blocks=2), STREAMS.of("weights")).eval()
    release = kind(network, Schedule(steps=5), STREAMS, SHAPE, torch.device("cpu"), batch=batch)
    return AttackTarget.of(release, STREAMS)


def images(first: int, count: int) -> Images:
    ids = torch.arange(first, first + count)
    return Images(torch.tanh(STREAMS.of("images").normal(ids, SHAPE)), ids, None)


SPLIT = {part: images(1000 * i, 30 + i) for i, part in enumerate(PARTS)}


def test_scores_do_not_depend_on_the_batch_or_the_order():
    asked, many = {"e": AttackRequest(Error(), False)}, images(0, 33)
    scores, queries = target(64).score(asked, many)
    order = np.random.default_rng(0).permutation(33)
    for size in (1, 7, 16):
        np.testing.assert_allclose(target(size).score(asked, many)[0]["e"], scores["e"], rtol=1e-5)
    np.testing.assert_allclose(target(16).score(asked, many.take(order))[0]["e"], scores["e"][order], rtol=1e-5)
    assert scores["e"].shape == (33,) and scores["e"].dtype == np.float64 and queries == {"e": 2}


def test_more_images_change_no_bit_of_those_in_full_batches():
    asked = {"e": AttackRequest(Error(), False)}
    few, more = (target(16).score(asked, images(0, n))[0]["e"] for n in (37, 90))
    assert np.array_equal(few[:32], more[:32])


def test_scores_by_a_plain_loop():
    release = target(8).release
    found = target(8).score({"e": AttackRequest(Error(), False)}, images(0, 11))[0]["e"]
    alpha_bar = np.prod(1 - np.linspace(1e-4, 0.02, 1000)[:101])
    for i in range(11):
        x, noise = images(i, 1).images, STREAMS.of("attacking", "forward").normal(torch.tensor([i]), SHAPE)
        x_t = (np.sqrt(alpha_bar) * x + np.sqrt(1 - alpha_bar) * noise).float()
        loss = (release.network(x_t, torch.tensor([100])) - noise).square().sum()
        clean = release.network(x, torch.tensor([0])).abs().sum()
        assert found[i] == pytest.approx(-(loss + clean).item(), rel=1e-5)


def test_evidence_goes_to_the_part_it_came_from():
    evidence = collect_membership_evidence(target(16), {"e": AttackRequest(Error(), False)}, SPLIT)[0]["e"]
    found = (
        evidence.member_scores,
        evidence.nonmember_scores,
        evidence.calibration_member_scores,
        evidence.calibration_nonmember_scores,
    )
    for part, scores in zip(PARTS, found, strict=True):
        expected = target(16).score({"e": AttackRequest(Error(), False)}, SPLIT[part])[0]["e"]
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_a_memorising_learner_does_not_look_perfect_on_calibration():
    """In sample its AUC would be exactly 1; out of fold it knows nothing."""
    split = {part: images(1000 * i, 200) for i, part in enumerate(PARTS)}
    evidence = collect_membership_evidence(target(64), {"m": AttackRequest(Memoriser(), False)}, split)[0]["m"]
    inside, outside = evidence.calibration_member_scores, evidence.calibration_nonmember_scores
    assert np.abs(np.concatenate([inside, outside])).max() < 1  # no image was scored by a fit that had seen it
    auc = roc_auc_score([1] * 200 + [0] * 200, np.concatenate([inside, outside]))
    assert abs(auc - 0.5) < 0.09  # three standard errors
    assert np.abs(evidence.member_scores).max() < 1


def test_the_final_fit_sees_all_calibration_images():
    split = SPLIT | {"member": SPLIT["calibration_in"], "nonmember": SPLIT["calibration_out"]}
    evidence = collect_membership_evidence(target(16), {"m": AttackRequest(Memoriser(), False)}, split)[0]["m"]
    assert (evidence.member_scores == 1).all() and (evidence.nonmember_scores == -1).all()


def test_attacks_together_score_as_they_do_alone():
    asked = {"a": AttackRequest(Error(), False), "b": AttackRequest(Error(), True)}
    for kind, same in ((Release, True), (Guided, False)):
        together = target(16, kind).score(asked, images(0, 20))[0]
        for name in asked:
            assert np.array_equal(together[name], target(16, kind).score({name: asked[name]}, images(0, 20))[0][name])
        assert np.allclose(together["a"], together["b"]) is same


def test_scoring_halves_its_batch_when_memory_runs_out(monkeypatch):
    expected = target(16).score({"e": AttackRequest(Error(), False)}, images(0, 20))[0]["e"]
    sizes = []

    def tight(self: Release, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 4:
            raise torch.cuda.OutOfMemoryError("simulated")
        return self.network(x, t, label)

    monkeypatch.setattr(Release, "raw_eps", tight)
    found = target(16).score({"e": AttackRequest(Error(), False)}, images(0, 20))[0]["e"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert sizes[:3] == [16, 8, 4] and set(sizes[3:]) == {4}


@pytest.mark.parametrize(
    ("score", "message"),
    [
        pytest.param(lambda self, view, images, labels: images.zero_().flatten(1).sum(dim=1), "wrote to", id="writes"),
        pytest.param(lambda self, view, images, labels: images.flatten(1), "shape", id="a score a pixel"),
    ],
)
def test_an_attack_that_spoils_the_batch_for_others_is_refused(score, message):
    spoiler = type("Spoiler", (Error,), {"score": score})
    with pytest.raises(ValueError, match=message):
        target(16).score({"s": AttackRequest(spoiler(), False)}, images(0, 20))


class Telling(Release):
    """Its eps is 1 for an image that it was trained on and 0 for any other."""

    def eps(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        known = (x[:, None] == self.parts["images"][None]).flatten(2).all(dim=2).any(dim=1)
        return known.float().view(-1, 1, 1, 1).expand_as(x)


class Recorder(Defense):
    """Trains nothing and keeps the images that it was told to train on."""

    name = "recorder"
    ships = frozenset({"images"})

    def fit(self, task: Task) -> Artefacts:
        return Artefacts({"denoiser": build(task.network, task.streams.of("weights"))}, {"images": task.images[:]})

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        return task.release(artefacts.networks["denoiser"], Telling, parts={"images": artefacts.tensors["images"]})


SEEN: list[tuple[str, torch.Tensor, torch.Tensor]] = []  # shadow, what it was trained on, its mask


class TwoShadows(MembershipAttack):
    """Asks both shadow models, at the images themselves, and the target."""

    name = "two-shadows"
    access = Access.DENOISER

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        return AuxiliaryModel("shadow 0", 0), AuxiliaryModel("shadow 1", 1, share=0.25)

    def score(self, view: DenoiserView, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        assert set(view.others) == {"shadow 0", "shadow 1"}
        for name, other in view.others.items() if not view._raw else ():  # the raw network tells nothing
            SEEN.append((name, other.view.eps(images, 0)[:, 0, 0, 0] == 1, other.is_member))
        return view.eps(images, 0)[:, 0, 0, 0]


@pytest.fixture
def builder(tmp_path) -> ReleaseBuilder:
    pixels = np.random.default_rng(0).integers(0, 256, (140, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "tiny.npz", images=pixels)
    file = SuiteFile.model_validate(
        {
            "name": "tiny",
            "dataset": f"npz:{tmp_path / 'tiny.npz'}",
            "defense": [{"name": "recorder"}],
            "split": {"members": 30, "nonmembers": 30, "calibration_in": 20, "calibration_out": 20},
            "sampler": {"steps": 2, "batch": 64},
            "quality": {"samples": 20},
        }
    )
    point = ReleaseSpec("recorder", (ChainLink("recorder", Recorder()),), "defense")
    return ReleaseBuilder(
        RunInputs(Suite(file, (point,), {"two": TwoShadows()}), RunConfig(tmp_path / "out", tmp_path / "cache"))
    )


def test_an_attack_gets_the_shadow_models_it_needs_with_the_right_masks(builder):
    SEEN.clear()
    fits = [cell for cell in Plan(builder).cells if cell.kind == "fit"]
    assert sorted(need.name if need else "" for cell in fits for need in cell.models) == ["", "shadow 0", "shadow 1"]
    audit = ReleaseAudit(AuditContext(builder, FeatureExtractor(builder.inputs), builder.inputs.suite.points[0], 0))
    records = list(audit.run([RecordSpec("two", Access.DENOISER)]))
    share = {}
    for name in ("shadow 0", "shadow 1"):
        truth, mask = (torch.cat([seen[i] for seen in SEEN if seen[0] == name]) for i in (1, 2))
        assert torch.equal(truth, mask)
        share[name] = float(mask[:100].float().mean())
    assert share == {"shadow 0": pytest.approx(0.5, abs=0.15), "shadow 1": pytest.approx(0.25, abs=0.15)}
    # The target itself was trained on the members and on no nonmember: its own answer separates them.
    auc = {metric.name: metric.value for metric in records[0].metrics}["auc"]
    assert auc == 1.0


def test_shadow_models_are_trained_on_anything_but_the_reference_part(builder):
    reference = set(builder.inputs.split.parts["reference"].tolist())
    rows = [builder.inputs.training_rows(need, seed) for need in TwoShadows().auxiliary_models() for seed in (0, 1)]
    assert [len(r) for r in rows] == [50, 50, 25, 25] and all(not reference & set(r.tolist()) for r in rows)
    assert len({tuple(r.tolist()) for r in rows}) == 4


class Louder(Guided):
    """A service that answers with fresh noise: no two answers are the same."""

    def eps(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return super().eps(x, t, label) + 0.1 * torch.randn(x.shape, generator=DICE)


DICE = torch.Generator().manual_seed(0)


def test_answers_that_vary_are_noticed():
    many = images(0, 20)
    assert randomised(target(16, Louder).release, many)
    assert not any(randomised(target(16, kind).release, many) for kind in (Release, Guided))


def test_calls_are_counted_as_made_and_as_if_each_attack_ran_alone():
    calls = CallCount()
    asked = {"a": AttackRequest(Error(), False), "b": AttackRequest(Error(), False)}
    target(16).score(asked, images(0, 40), calls)
    assert (calls.together, calls.apart) == (2, 4) and calls.seconds > 0
    target(16, Guided).score(asked | {"c": AttackRequest(Error(), True)}, images(0, 40), calls)
    assert (calls.together, calls.apart) == (4, 6)


def test_an_attack_without_the_shadow_models_it_needs_is_refused_in_one_line():
    with pytest.raises(UsageError, match="two-shadows needs the shadow model 'shadow 0', and there is none"):
        target(16).score({"t": AttackRequest(TwoShadows(), False)}, images(0, 20))


class Marked(MembershipAttack):
    """Learns from never-trained-on images: fitted once, on all of them."""

    name = "marked"
    access = Access.DENOISER
    learns_from = "public"
    fits: ClassVar[list[int]] = []

    def fit(self, calibration: Calibration) -> Marked:
        found = calibration.public.ask(lambda view, images, labels: view.eps(images, 0))
        assert found.shape == calibration.public.images.shape == (33, *SHAPE)
        self.fits.append(len(calibration.images))
        return self

    def score(self, view: DenoiserView, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return view.eps(images, 0).flatten(1).sum(dim=1)


def test_an_attack_that_learns_from_public_images_is_fitted_once():
    Marked.fits.clear()
    collect_membership_evidence(
        target(16), {"m": AttackRequest(Marked(), False)}, SPLIT | {"reference": images(9000, 33)}
    )
    assert Marked.fits == [len(SPLIT["calibration_in"].ids) + len(SPLIT["calibration_out"].ids)]


class Apart(Error):
    """Asks what others ask, and its calls do not count."""

    name = "apart"
    shares = False


def test_a_call_counts_once_whoever_asked_first():
    for order in (("apart", "a", "b"), ("a", "apart", "b"), ("a", "b")):
        calls = CallCount()
        asked = {name: AttackRequest(Apart() if name == "apart" else Error(), False) for name in order}
        target(16).score(asked, images(0, 40), calls)
        assert (calls.together, calls.apart, calls.attacks) == (2, 4, 2)


def test_few_calibration_images_are_folded_as_far_as_they_go():
    for count in (2, 3):
        split = SPLIT | {part: images(1000 * i, count) for i, part in ((2, "calibration_in"), (3, "calibration_out"))}
        evidence = collect_membership_evidence(target(16), {"m": AttackRequest(Memoriser(), False)}, split)[0]["m"]
        assert np.abs(evidence.calibration_member_scores).max() < 1 and len(evidence.calibration_member_scores) == count
    with pytest.raises(UsageError, match="'memoriser' learns from calibration images, and the split has 1 of a side"):
        collect_membership_evidence(
            target(16), {"m": AttackRequest(Memoriser(), False)}, SPLIT | {"calibration_in": images(2000, 1)}
        )


class Uneven(MembershipAttack):
    """Asks about the first batch of images twice, about all others once."""

    name = "uneven"
    access = Access.DENOISER

    def score(self, view: DenoiserView, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        again = [view.eps(images, 1)] if int(view.ids.min()) == 0 else []
        return torch.stack([view.eps(images, 0), *again]).mean(dim=0).flatten(1).sum(dim=1)


class Sampling(MembershipAttack):
    """Draws three further samples, the same for all images."""

    name = "sampling"
    access = Access.API

    def score(self, view: Any, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return images.flatten(1).sum(dim=1) - view.sample(3).sum()


@pytest.mark.parametrize("batch", [4, 5, 16])
def test_queries_are_a_mean_over_all_batches_and_samples_cost_what_they_cost_once(batch):
    images = Images(torch.zeros(10, *SHAPE), torch.arange(10), None)
    asked = {"uneven": AttackRequest(Uneven(), False), "sampling": AttackRequest(Sampling(), False)}
    _, queries = target(batch).score(asked, images, calls := CallCount())
    assert queries["uneven"] == calls.together == calls.apart == (10 + min(batch, 10)) / 10
    assert queries["sampling"] == 3 * 5 / 10  # three samples, five steps each, ten images


def test_questions_that_draw_the_same_samples_pay_for_them_once():
    at, count = target(4), QueryCount()
    for first, number in ((0, 10), (100, 6)):
        at.ask(Sampling().score, Sampling(), False, images(first, number), count)
    assert count.mean == 3 * 5 / 16
    at.ask(Uneven().score, Uneven(), False, images(0, 4), count)
    assert count.mean == (3 * 5 + 2 * 4) / 20

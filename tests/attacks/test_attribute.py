"""Attribute inference: its numbers against sklearn, its attacks against loops, and that nobody is told the truth."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score
from torch import nn

from leakbench.api import Access, AttributeAttack, AttributeEvidence, AttributeTrainingSet, AuditSetting, Release
from leakbench.attacks.attribute.attribute_member import AttributeMember
from leakbench.attacks.attribute.attribute_output import AttributeOutput
from leakbench.data.image_batch import Images
from leakbench.measurement.attribute import measure_attribute
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.metrics.evaluate.attribute import evaluate_attribute
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.run_config import RunConfig
from leakbench.statistics import auc
from leakbench.suite.load import load
from leakbench.testing import failures
from leakbench.testing.toys import SHAPE, toy_images, toy_release, toy_rng

STREAMS, COUNT = toy_rng(), 10
RNG = np.random.default_rng(0)


# The numbers ----------------------------------------------------------------------------------------------------------


def evidence(shift, null_shift, n=150):
    groups = (RNG.normal(shift, 1, n), RNG.normal(0, 1, n + 7), RNG.normal(null_shift, 1, n), RNG.normal(0, 1, n))
    return AttributeEvidence(*groups)


def measured(found):
    return {one.name: one for one in found.metrics}


def test_groups_of_the_evidence_reach_the_aucs_and_their_difference():
    """Of members and never-seen images; and of samples, which are each on their own, beside real images."""
    given = evidence(0.5, 0.2)
    groups = [np.arange(len(side)) // 4 + 1000 * number for number, side in enumerate(given.arrays.values())]
    every, null_alone = (
        AttributeEvidence(*given.arrays.values(), *groups),
        replace(given, null_one_groups=groups[2], null_zero_groups=groups[3]),
    )
    plain, both, null = (measured(evaluate_attribute(one, balanced=False)) for one in (given, every, null_alone))
    sides = list(given.arrays.values())
    assert both["attribute_auc"].ci_low == auc(*sides[:2], groups=groups[:2]).low
    low = auc(*sides[2:], groups=groups[2:]).low
    assert both["attribute_auc_null"].ci_low == null["attribute_auc_null"].ci_low == low
    assert null["attribute_auc"] == plain["attribute_auc"]
    assert [m["attribute_auc_excess"].n_groups for m in (plain, both)] == [None, both["attribute_auc"].n_groups]
    assert null["attribute_auc_excess"].ci_low != plain["attribute_auc_excess"].ci_low


def test_the_aucs_are_sklearns_and_the_excess_is_their_difference():
    given = evidence(2.0, 0.5)
    found = evaluate_attribute(given, balanced=True)
    values = measured(found)
    for name, one, zero in (
        ("attribute_auc", given.one, given.zero),
        ("attribute_auc_null", given.null_one, given.null_zero),
    ):
        truth = np.r_[np.ones(len(one)), np.zeros(len(zero))]
        assert values[name].value == pytest.approx(roc_auc_score(truth, np.r_[one, zero]))
    excess = values["attribute_auc_excess"]
    assert excess.value == pytest.approx(values["attribute_auc"].value - values["attribute_auc_null"].value)
    assert 0 < excess.ci_low < excess.value < excess.ci_high and found.info["attribute_auc_excess_p"] < 1e-4
    assert values["attribute_balance"].value == np.mean(np.r_[given.one, given.zero] > 0)
    assert values["attribute_balance_real"].value == np.mean(np.r_[given.null_one, given.null_zero] > 0)
    assert values["attribute_balance_asked"].value == 150 / 307 and not found.flags


def test_what_shows_the_other_way_round_is_flagged_and_never_flipped():
    found = evaluate_attribute(evidence(-2.0, -2.0), balanced=False)
    values = measured(found)
    assert values["attribute_auc"].ci_high < 0.5 and found.flags == {"inverted"}
    assert values["attribute_auc_excess"].ci_low < 0 < values["attribute_auc_excess"].ci_high
    assert not {name for name in values if "balance" in name}


def test_without_a_null_there_is_none_and_one_value_alone_has_no_auc():
    some = RNG.normal(size=20)
    found = evaluate_attribute(AttributeEvidence(some + 9, some, np.empty(0), np.empty(0)), balanced=False)
    assert set(measured(found)) == {"attribute_auc"} and not found.flags
    found = evaluate_attribute(AttributeEvidence(some, some[:1], some, some), balanced=True)
    assert "attribute_auc" not in measured(found) and found.flags == {"attribute-one-sided"}
    assert measured(found)["attribute_balance_asked"].value == 20 / 21


def test_scores_that_are_no_numbers_are_flagged():
    some = RNG.normal(size=20)
    nan, infinite = np.full(20, np.nan), np.full(20, np.inf)
    for broken in (AttributeEvidence(nan, some, some, some), AttributeEvidence(some, some, some, infinite)):
        assert "non-finite" in evaluate_attribute(broken, balanced=False).flags
    flat = evaluate_attribute(AttributeEvidence(some * 0, some * 0, some, some), balanced=False)
    assert "constant-scores" in flat.flags


# The attacks ----------------------------------------------------------------------------------------------------------


class Partial(nn.Module):
    """Believes that attribute 1 is brighter: eps = (x - sqrt(alpha_bar) (+-0.5)) / sqrt(1 - alpha_bar)."""

    spec = NetworkSpec(kind="mlp", shape=SHAPE, conditions=2)

    def forward(self, x, t, label=None):
        alpha_bar = torch.from_numpy(toy_release().schedule.alpha_bar)[t].view(-1, 1, 1, 1).float()
        return (x - alpha_bar.sqrt() * (label - 0.5).view(-1, 1, 1, 1)) / (1 - alpha_bar).sqrt()


def test_what_the_network_believes_of_an_attribute_is_read_off_its_losses():
    """L_0 - L_1 = alpha_bar / (1 - alpha_bar) (|x + 1/2|^2 - |x - 1/2|^2), whatever the noise: 2 sum(x) times that."""
    release = Release(Partial(), toy_release().schedule, STREAMS, SHAPE, torch.device("cpu"), batch=4)
    x0, attack = toy_images(COUNT, "x"), AttributeMember(t=(100, 300), draws=2)
    found, queries = AttackTarget.of(release, STREAMS).score(
        {"": AttackRequest(attack, False)}, Images(x0, torch.arange(COUNT), None)
    )
    alpha_bar = release.schedule.alpha_bar[[100, 300]]
    weight = (alpha_bar / (1 - alpha_bar)).mean()
    np.testing.assert_allclose(found[""], 2 * weight * x0.flatten(1).sum(dim=1).numpy(), rtol=1e-3, atol=1e-2)
    assert queries[""] == 2 * 2 * 2


def test_it_equals_a_loop_over_draws_and_timesteps():
    release, x0 = toy_release(16, "attribute"), toy_images(COUNT, "x")
    slow = []
    for i in range(COUNT):
        gaps = []
        for t in (60, 200):
            alpha_bar = float(release.schedule.alpha_bar[t])
            for draw in range(3):
                noise = STREAMS.of("attacking", "forward").normal(torch.tensor([i]), SHAPE, draw)
                x = alpha_bar**0.5 * x0[i : i + 1] + (1 - alpha_bar) ** 0.5 * noise
                losses = [
                    float((release.network(x, torch.tensor([t]), torch.tensor([s])) - noise).double().square().sum())
                    for s in (0, 1)
                ]
                gaps.append(losses[0] - losses[1])
        slow.append(np.mean(gaps))
    asked = {"": AttackRequest(AttributeMember(t=(60, 200), draws=3), False)}
    found = AttackTarget.of(release, STREAMS).score(asked, Images(x0, torch.arange(COUNT), None))[0][""]
    np.testing.assert_allclose(found, slow, rtol=1e-4, atol=1e-4)


def test_a_reader_of_outputs_learns_from_what_is_known_and_from_nothing_else():
    known = STREAMS.of("known").normal(torch.arange(120), SHAPE)
    attribute_of = torch.arange(120) % 2
    known[:, :, :4] += (attribute_of - 0.5).view(-1, 1, 1, 1)
    fitted = AttributeOutput().fit(AttributeTrainingSet(known, None, lambda question: known, attribute_of, STREAMS))
    fresh = STREAMS.of("fresh").normal(torch.arange(60), SHAPE)
    fresh[:30, :, :4] += 0.5
    fresh[30:, :, :4] -= 0.5
    scores = fitted.score(None, fresh, None).detach().numpy()
    assert roc_auc_score(np.arange(60) < 30, scores) > 0.9


@pytest.mark.parametrize("attack", [AttributeOutput, AttributeMember])
def test_they_conform_and_apply_where_the_attribute_conditions(attack, hurried):
    assert failures(attack) == []
    for condition in ("none", "label", "attribute"):
        found = attack().skip(AuditSetting((), condition, "nothing", 1000, 10))
        assert found is None if condition == "attribute" else found.severity == "not-applicable"


def test_bad_parameters_are_refused():
    for wrong in ({"t": ()}, {"t": (1000,)}, {"draws": 0}):
        with pytest.raises(ValidationError):
            AttributeMember(**wrong)
    found = AttributeMember().skip(AuditSetting((), "attribute", "nothing", 300, 10))
    assert (
        found.severity == "cannot-work" and found.reason == "it asks at t = 400, and the noise schedule ends at t = 299"
    )


# The measurement ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audit(tmp_path_factory, tiny_text):
    home = tmp_path_factory.mktemp("attribute")
    text = tiny_text.replace("[network]\n", '[network]\ncondition = "attribute"\n').split("[[attack]]")[0]
    text = text.split('[[defense]]\nname = "cpsample"')[0] + '[quality]\nsamples = 60\nfeatures = "classifier"\n'
    (home / "s.toml").write_text(text)
    builder = ReleaseBuilder(RunInputs(load(str(home / "s.toml")), RunConfig(home / "out", home / "cache")))
    return AuditContext(builder, FeatureExtractor(builder.inputs), builder.inputs.suite.points[0], 0)


class Peeking(AttributeAttack):
    """Notes everything that it is given; scores brightness."""

    name = "peeking"
    summary = "a spy"
    access = Access.DENOISER
    of = "images"
    seen: ClassVar[dict] = {}

    def fit(self, known):
        bright = known.ask(lambda view, pictures, labels: pictures.flatten(1).mean(dim=1))
        self.seen.update(known=known, bright=bright, ids=[])
        return self

    def score(self, view, pictures, labels):
        assert labels is None and view.labels is None
        self.seen["ids"] += view.ids.tolist()
        return pictures.flatten(1).mean(dim=1)


class PeekingAtSamples(Peeking):
    of = "samples"


@pytest.mark.parametrize("kind", [Peeking, PeekingAtSamples])
def test_the_truth_is_told_of_reference_images_and_of_nothing_that_is_reported(kind, audit):
    found = measure_attribute(audit, kind(), Access.DENOISER)
    parts, truth = audit.inputs.split.parts, audit.inputs.split.attribute
    known = kind.seen["known"]
    assert known.labels is None and torch.equal(known.images[:], audit.inputs.part("reference")[:])
    assert known.attribute.tolist() == truth[parts["reference"]].tolist()
    torch.testing.assert_close(kind.seen["bright"], known.images[:].flatten(1).mean(dim=1))
    if kind.of == "images":
        assert set(kind.seen["ids"]) == {*parts["member"].tolist(), *parts["nonmember"].tolist()}
    assert found.metrics.info["known_images"] == len(parts["reference"])


@pytest.mark.parametrize("kind", [Peeking, PeekingAtSamples])
def test_scores_are_sorted_by_the_truth(kind, audit):
    arrays = measure_attribute(audit, kind(), Access.DENOISER).arrays
    builder = audit.builder

    def split(pictures, truth):
        bright, truth = pictures[:].flatten(1).mean(dim=1).double().numpy(), np.asarray(truth)
        return bright[truth == 1], bright[truth == 0]

    rows = (builder.inputs.split.parts["nonmember"], builder.inputs.heldout_rows)[kind.of == "samples"]
    null = split(builder.inputs.images(rows), builder.inputs.split.attribute[rows])
    if kind.of == "samples":
        reported = split(audit.samples, audit.requested_labels)
    else:
        member = builder.inputs.split.parts["member"]
        reported = split(builder.inputs.images(member), builder.inputs.split.attribute[member])
    for name, wanted in zip(("one", "zero", "null_one", "null_zero"), (*reported, *null), strict=True):
        np.testing.assert_allclose(arrays[name], wanted, rtol=1e-6)


@pytest.mark.parametrize("attack", [AttributeMember(t=(50,), draws=1), AttributeOutput()])
def test_the_built_in_attacks_run(attack, audit, hurried):
    found = measure_attribute(audit, attack, attack.access)
    names = {one.name for one in found.metrics.metrics}
    assert {"attribute_auc", "attribute_auc_null", "attribute_auc_excess"} <= names
    assert ("attribute_balance" in names) is (attack.of == "samples")
    assert found.queries == (2.0 if attack.of == "images" else 0.0)

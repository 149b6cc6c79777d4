"""The adaptive attack on CPSample: closed forms on a release whose guidance is known, loops, what must not matter."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from leakbench.api import Access, AuditSetting, Release
from leakbench.api.answer_cache import AnswerCache, QueriedRelease
from leakbench.api.views import DenoiserView
from leakbench.attacks.adaptive import _line
from leakbench.attacks.adaptive.adaptive_cpsample import AdaptiveCPSample
from leakbench.attacks.adaptive.adaptive_cpsample_learned import AdaptiveCPSampleLearned
from leakbench.attacks.membership.loss import Loss
from leakbench.data.image_batch import Images
from leakbench.defenses.cpsample import ProtectedRelease
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models import networks
from leakbench.models.diffusion import full_timesteps
from leakbench.models.networks import NetworkSpec
from leakbench.statistics import auc
from leakbench.testing import failures
from leakbench.testing.toys import toy_images, toy_release, toy_rng

COUNT, SHAPE, PIXELS = 12, (1, 8, 8), 64
STREAMS = toy_rng()
CENTRE = 0.3 * STREAMS.of("centre").normal(torch.arange(1), SHAPE)  # the toy network's x_0, of whatever it sees
WAY = STREAMS.of("way").normal(torch.arange(1), SHAPE)
WAY = WAY / WAY.norm()


class Sure(nn.Module):
    """The toy network: eps = (x - sqrt(alpha_bar) centre) / sqrt(1 - alpha_bar)."""

    spec = NetworkSpec(kind="mlp", shape=SHAPE)

    def forward(self, x, t, label=None):
        alpha_bar = torch.from_numpy(toy_release().schedule.alpha_bar)[t].view(-1, 1, 1, 1).float()
        return (x - alpha_bar.sqrt() * CENTRE) / (1 - alpha_bar).sqrt()


class Straight(nn.Module):
    """The toy classifier: its logit is steep along one direction, and linear."""

    def __init__(self, steep, bias):
        super().__init__()
        self.steep, self.bias = steep, bias

    def forward(self, x, t):
        return self.steep * (x * WAY).flatten(1).sum(dim=1) + self.bias


def guarded(alpha, scale, steep=40.0, bias=40.0, batch=COUNT):
    base = toy_release(batch)
    raw = Release(Sure(), base.schedule, STREAMS, SHAPE, base.device, batch)
    return ProtectedRelease.wrap(raw, parts={"classifier": Straight(steep, bias)}, alpha=alpha, scale=scale)


def across(x0):
    """Images whose difference to the centre has no part along the way."""
    return x0 - ((x0 - CENTRE) * WAY).flatten(1).sum(dim=1).view(-1, 1, 1, 1) * WAY


def view_of(release, x0, ids=None):
    ids = torch.arange(len(x0)) if ids is None else ids
    return DenoiserView(AnswerCache(QueriedRelease(release, lambda: torch.empty(0)), STREAMS, x0, ids, None))


def raw_error(release, x0, t):
    """(eps_theta - eps), which the noise has no part in: sqrt(alpha_bar / (1 - alpha_bar)) (x_0 - centre)."""
    alpha_bar = release.schedule.alpha_bar[t]
    return math.sqrt(alpha_bar / (1 - alpha_bar)) * (x0 - CENTRE)


X0 = toy_images(COUNT, "attacked")


# The guidance, where it is known --------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.25, 0.01, 0.5])
@pytest.mark.parametrize("scale", [10.0, 1000.0])
def test_the_estimated_guidance_is_the_true_one(alpha, scale):
    """With alpha = 1/2 the gate never shuts, and the two sides of its jump have to cancel."""
    release, x0 = guarded(alpha, scale), across(X0)
    view = view_of(release, x0)
    found = _line.walk(view, 100, 0)
    x = view.noised(100, 0)
    truth = release.eps(x, full_timesteps(100, x)) - release.raw_eps(x, full_timesteps(100, x))
    assert truth.flatten(1).norm(dim=1).min() > 50  # it drowns the error
    size = truth.flatten(1).norm(dim=1).max()
    assert bool(found.turned.all()) and (found.guidance - truth).abs().max() < 2e-4 * size
    error = raw_error(release, x0, 100)
    torch.testing.assert_close(
        _line.mean_square(found.corrected), _line.mean_square(error), rtol=5e-3, atol=1e-6 * size
    )


def test_of_any_image_at_most_the_part_along_the_guidance_is_lost():
    release = guarded(0.25, 1000.0)
    error = raw_error(release, X0, 100)
    along = (error * WAY).flatten(1).sum(dim=1).square() / PIXELS
    found = _line.mean_square(_line.walk(view_of(release, X0), 100, 0).corrected)
    whole = _line.mean_square(error)
    assert along.max() > 0.01 * whole.max()
    assert bool((found <= whole * 1.001).all()) and bool((found >= (whole - along) * 0.999).all())


def test_where_the_gate_never_opens_there_is_no_guidance_and_the_error_is_the_networks():
    found = _line.walk(view_of(guarded(0.0, 1000.0), X0), 100, 0)
    assert not bool(found.turned.any()) and found.guidance.abs().max() < 1e-4
    torch.testing.assert_close(found.corrected, raw_error(guarded(0.0, 0.0), X0, 100), rtol=1e-3, atol=1e-4)


def test_the_score_is_the_raw_networks_loss_and_the_plain_loss_is_not():
    release, x0 = guarded(0.25, 30.0), across(X0)
    attack = AdaptiveCPSample(t=(50, 100), draws=2)
    wanted = -sum(_line.mean_square(raw_error(release, x0, t)).log() for t in attack.t) / 2
    view = view_of(release, x0)
    torch.testing.assert_close(attack.score(view, x0, None), wanted, rtol=1e-3, atol=2e-3)
    naive = Loss().score(view, x0, None)
    assert naive.max() < -PIXELS * _line.mean_square(raw_error(release, x0, 100)).max()


def test_what_guidance_hides_comes_back():
    """Members lie closer to what the network expects; how hard they are pushed depends on the noise, and is more."""

    class Bent(Straight):
        def forward(self, x, t):
            along = (x * WAY).flatten(1).sum(dim=1)
            return super().forward(x, t) + 10 * along.square()

    release = guarded(0.25, 30.0, batch=80)
    release.parts["classifier"] = Bent(40.0, 40.0)
    away = across(toy_images(80, "away")) - CENTRE
    x0 = CENTRE + torch.where(torch.arange(80) < 40, 0.3, 0.6).view(-1, 1, 1, 1) * away

    def auc_of(attack):
        asked = Images(x0, torch.arange(80), None)
        found = AttackTarget.of(release, STREAMS).score({"": AttackRequest(attack, False)}, asked)[0][""]
        return auc(found[:40], found[40:]).value

    assert auc_of(AdaptiveCPSample(t=(100,))) > 0.99 > 0.7 > auc_of(Loss())


# Loops, and what must not matter --------------------------------------------------------------------------------------


def small_guarded(batch=16):
    """Random weights of a network and of a classifier."""
    spec = NetworkSpec(kind="mlp", shape=SHAPE, width=16, blocks=1, outputs="logit")
    classifier = networks.build(spec, STREAMS.of("classifier")).eval().requires_grad_(False)
    classifier.exit[1].weight.mul_(8.0)
    return ProtectedRelease.wrap(toy_release(batch), parts={"classifier": classifier}, alpha=0.2, scale=20.0)


def slowly(release, x0, number, t, draw):
    """The walk of one image, by the description in `_line`."""
    alpha_bar = float(release.schedule.alpha_bar[t])
    noise = STREAMS.of("attacking", "forward").normal(torch.tensor([number]), SHAPE, draw)

    def error(moved):
        x = math.sqrt(alpha_bar) * x0[None] + math.sqrt(1 - alpha_bar) * moved
        return release.eps(x, full_timesteps(t, x)) - moved

    naive = error(noise)
    direction = -naive / naive.square().mean().sqrt()
    near, far, before, after, turned = 0.0, None, naive, None, False
    met = [naive]
    for step in range(6):
        length = 0.05 * 2**step
        met.append(error(noise + length * direction))
        if turned:
            continue
        if float((met[-1] * naive).sum()) < 0:
            far, after, turned = length, met[-1], True
        else:
            near, before = length, met[-1]
    if not turned:
        far, after = near, before
    for _ in range(10):
        length = (near + far) / 2
        met.append(error(noise + length * direction))
        if float((met[-1] * naive).sum()) < 0:
            far, after = length, met[-1]
        else:
            near, before = length, met[-1]
    shares = np.linspace(0, 1, 20001)[:, None]
    a, b = before.flatten().double().numpy(), after.flatten().double().numpy()
    between = float(np.square((1 - shares) * a + shares * b).sum(axis=1).min())
    return min([float(one.square().sum()) for one in met] + [between]) / PIXELS


def test_it_equals_the_walk_in_a_loop():
    release = small_guarded()
    attack = AdaptiveCPSample(t=(30, 150), draws=2)
    found = attack.score(view_of(release, X0), X0, None)
    walks = [(t, draw) for t in attack.t for draw in range(2)]
    slow = [-sum(math.log(slowly(release, X0[i], i, t, draw)) for t, draw in walks) / len(walks) for i in range(COUNT)]
    np.testing.assert_allclose(found.numpy(), slow, rtol=1e-5, atol=1e-5)
    guided = [release.guided(x, full_timesteps(t, x))[1] for t in attack.t for x in [view_of(release, X0).noised(t, 0)]]
    assert 0 < float(torch.cat(guided).float().mean()) < 1  # the gate opens for some


def test_neither_batch_nor_order_matter():
    assert failures(AdaptiveCPSample) == []


@pytest.mark.parametrize("kind", [AdaptiveCPSample, AdaptiveCPSampleLearned])
def test_nor_do_they_where_gates_open(kind):
    attack, x0 = kind(t=(50,), draws=1), toy_images(24, "many")
    names = ("member", "nonmember", "calibration_in", "calibration_out")

    def scores(batch, step):
        rows = {name: torch.arange(24)[number::4] for number, name in enumerate(names)}
        rows |= {name: rows[name].flip(0) if step < 0 else rows[name] for name in names[:2]}
        parts = {name: Images(x0[chosen], chosen, None) for name, chosen in rows.items()}
        evidence, queries = collect_membership_evidence(
            AttackTarget.of(small_guarded(batch), STREAMS), {"": AttackRequest(attack, False)}, parts
        )
        assert queries[""] == _line.CALLS == 17
        return np.concatenate([evidence[""].member_scores[::step], evidence[""].nonmember_scores[::step]])

    for batch, step in ((5, 1), (24, -1)):
        np.testing.assert_allclose(scores(batch, step), scores(24, 1), rtol=1e-3, atol=1e-3)


# With labels ----------------------------------------------------------------------------------------------------------


def test_guidance_itself_is_evidence_once_labels_say_of_what():
    """The network treats all images alike; the classifier is steeper for members, and only labels can tell so."""

    class Steeper(Straight):
        def forward(self, x, t):
            bright = x.flatten(1).mean(dim=1)
            return super().forward(x, t) * torch.where(bright > 0, 1.5, 1.0)

    release = guarded(0.25, 30.0, batch=64)
    release.parts["classifier"] = Steeper(40.0, 40.0)
    parts = {
        name: Images(across(CENTRE + shift).expand(16, *SHAPE), torch.arange(16) + 16 * number, None)
        for number, (name, shift) in enumerate(
            [("member", 0.2), ("nonmember", -0.2), ("calibration_in", 0.2), ("calibration_out", -0.2)]
        )
    }
    asked = {
        name: AttackRequest(kind(t=(100,), draws=1), False)
        for name, kind in (("fixed", AdaptiveCPSample), ("learned", AdaptiveCPSampleLearned))
    }
    found = collect_membership_evidence(AttackTarget.of(release, STREAMS), asked, parts)[0]
    areas = {name: auc(one.member_scores, one.nonmember_scores).value for name, one in found.items()}
    assert areas["learned"] > 0.9 > 0.8 > areas["fixed"], areas


def test_the_learned_rule_is_sklearns_on_standardised_features():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    release, attack, x0 = small_guarded(), AdaptiveCPSampleLearned(t=(50, 100), draws=2), toy_images(48, "many")
    features = attack._features(view_of(release, x0), x0, None).double().numpy()
    assert features.shape == (48, 10)
    names = ("member", "nonmember", "calibration_in", "calibration_out")
    parts = {name: Images(x0[number::4], torch.arange(number, 48, 4), None) for number, name in enumerate(names)}
    evidence = collect_membership_evidence(
        AttackTarget.of(release, STREAMS), {"": AttackRequest(attack, False)}, parts
    )[0][""]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(np.concatenate([features[2::4], features[3::4]]), [1] * 12 + [0] * 12)
    np.testing.assert_allclose(evidence.member_scores, model.decision_function(features[0::4]), atol=2e-3)
    np.testing.assert_allclose(evidence.nonmember_scores, model.decision_function(features[1::4]), atol=2e-3)


# Where it applies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [AdaptiveCPSample, AdaptiveCPSampleLearned])
def test_it_asks_the_denoiser_and_bad_parameters_are_refused(kind):
    assert kind.access is Access.DENOISER
    for wrong in ({"t": ()}, {"t": (1000,)}, {"t": (-1,)}, {"draws": 0}):
        with pytest.raises(ValidationError):
            kind(**wrong)
    setting = AuditSetting((), "none", "nothing", 1000, COUNT, parts=frozenset({"classifier"}))
    assert kind().skip(setting) is None
    assert kind().skip(replace(setting, parts=frozenset())).severity == "not-applicable"
    assert kind().skip(replace(setting, timesteps=100)).reason == (
        "it asks at t = 200, and the noise schedule ends at t = 99"
    )
    assert kind().learns is (kind is AdaptiveCPSampleLearned)

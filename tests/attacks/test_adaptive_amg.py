"""The adaptive attack on AMG: what it sees of a linear network, of the push, and of both."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from leakbench.api import Access, AuditSetting, Release
from leakbench.attacks.adaptive.adaptive_amg import AdaptiveAMG
from leakbench.attacks.membership.loss import Loss
from leakbench.data.image_batch import Images
from leakbench.defenses.amg import Crowd, GuidedRelease, thresholds
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.networks import NetworkSpec
from leakbench.statistics import auc
from leakbench.testing import failures
from leakbench.testing.toys import toy_images, toy_release, toy_rng

STREAMS, SHAPE, T = toy_rng(), (1, 8, 8), 1000
MEMBERS, OTHERS = toy_images(40, "members"), toy_images(40, "others")
X0, IDS = torch.cat([MEMBERS, OTHERS]), torch.arange(80)


class Linear(nn.Module):
    """The toy network: eps = 0.9 x + 0.1."""

    spec = NetworkSpec(kind="mlp", shape=SHAPE)

    def forward(self, x, t, label=None):
        return 0.9 * x + 0.1


def guided(scale, batch=32, network=None):
    base = toy_release(batch)
    raw = Release(network or Linear(), base.schedule, STREAMS, SHAPE, base.device, batch)
    noise = STREAMS.of("crowd").normal(torch.arange(40), (64,))
    crowd = Crowd(MEMBERS.flatten(1), noise)
    return GuidedRelease.wrap(
        raw, parts={"members": MEMBERS}, crowd=crowd, threshold=thresholds(T, raw.device), scale=scale
    )


def scores(release, attack, order=IDS):
    found, queries = AttackTarget.of(release, STREAMS).score(
        {"": AttackRequest(attack, False)}, Images(X0[order], IDS[order], None)
    )
    assert queries[""] == 4 * attack.draws if isinstance(attack, AdaptiveAMG) else True
    return found[""][order.argsort().numpy()]


def push(x, t, alpha_bar, scale):
    """AMG's push of one state (64,), by its definition: the gradient by autograd, constants detached."""
    noise = STREAMS.of("crowd").normal(torch.arange(40), (64,)).double()
    states = math.sqrt(alpha_bar) * MEMBERS.flatten(1).double() + math.sqrt(1 - alpha_bar) * noise
    x = x.clone().requires_grad_(True)
    distance = (x - states).square().mean(dim=1).sqrt()
    nl2 = distance.min() / (distance.detach().mean() / 2)
    (gradient,) = torch.autograd.grad(nl2, x)
    short = float(thresholds(T, torch.device("cpu"))[t]) - float(nl2.detach())
    return math.sqrt(1 - alpha_bar) * scale * short * 64 * gradient if short > 0 else torch.zeros(64).double()


@pytest.mark.parametrize(("t", "draws"), [(0, 2), (40, 1)])
def test_over_a_linear_network_the_score_is_that_of_the_push_alone(t, draws):
    alpha_bar = float(toy_release().schedule.alpha_bar[t])
    slow = []
    for i in range(80):
        shares = []
        for draw in range(draws):
            noise = STREAMS.of("attacking", "forward").normal(IDS[i : i + 1], SHAPE, draw).flatten().double()
            at = {
                h: push(
                    math.sqrt(alpha_bar) * X0[i].flatten().double() + h * math.sqrt(1 - alpha_bar) * noise,
                    t,
                    alpha_bar,
                    5.0,
                )
                for h in (-1, -0.5, 0.5, 1)
            }
            bend = (at[0.5] - at[-0.5]) - (at[1] - at[-1]) / 2
            shares.append(float(bend @ noise / (noise @ noise)))
        slow.append(np.mean(shares))
    np.testing.assert_allclose(scores(guided(5.0), AdaptiveAMG(t=t, draws=draws)), slow, rtol=1e-3, atol=1e-4)
    assert np.std(slow) > 0.01


def test_a_linear_network_without_a_guard_shows_nothing():
    assert np.abs(scores(guided(0.0), AdaptiveAMG())).max() < 1e-4


@pytest.mark.parametrize("scale", [0.1, 1.0, 26.0])
def test_members_are_told_by_the_push_alone_at_every_scale(scale):
    """The toy network knows no image: the loss tells members by nothing else either, and the other way round."""
    found = scores(guided(scale), AdaptiveAMG())
    assert auc(found[:40], found[40:]).value > 0.99
    if scale == 26.0:
        naive = scores(guided(scale), Loss())
        assert auc(naive[:40], naive[40:]).value < 0.5


def test_neither_batch_nor_order_matter():
    attack, straight = AdaptiveAMG(draws=1), scores(guided(5.0), AdaptiveAMG(draws=1))
    np.testing.assert_allclose(scores(guided(5.0, batch=7), attack), straight, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(scores(guided(5.0), attack, IDS.flip(0)), straight, rtol=1e-3, atol=1e-4)


def test_it_conforms():
    assert failures(AdaptiveAMG) == []


def test_it_asks_the_denoiser_and_bad_parameters_are_refused():
    assert AdaptiveAMG.access is Access.DENOISER
    for wrong in ({"t": 1000}, {"t": -1}, {"draws": 0}):
        with pytest.raises(ValidationError):
            AdaptiveAMG(**wrong)
    place = AuditSetting((), "none", "nothing", 100, 80)
    assert AdaptiveAMG(t=100).skip(place).reason == "it asks at t = 100, and the noise schedule ends at t = 99"
    assert AdaptiveAMG().skip(replace(place, parts=frozenset({"members"}))) is None
    assert AdaptiveAMG().skip(replace(place, parts=frozenset({"tau"}))).severity == "not-applicable"
    assert AdaptiveAMG().skip(place) is None and not AdaptiveAMG().learns

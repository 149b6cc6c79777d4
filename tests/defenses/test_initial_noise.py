"""Adjusted initial noise: its step against a pull in closed form, and what it leaves as it was."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from leakbench.api import AuditSetting, Guarantee
from leakbench.defenses.cpsample import CPSample
from leakbench.defenses.initial_noise import InitialNoise
from leakbench.measurement.compatibility import _skip_order
from leakbench.models.pretrained.release import PretrainedRelease
from leakbench.suite.release_spec import ChainLink
from leakbench.testing import toy_network, toy_release, toy_task
from leakbench.testing.settings import Plain

D = 64


class Pulled(nn.Module):
    """Label 1 answers A x more than what it answers without, and label 0 as much less. -1: no label."""

    def __init__(self, matrix):
        super().__init__()
        self.spec, self.matrix = toy_network("label"), matrix

    def forward(self, x, t, label=None):
        sign = torch.where(label < 0, 0, 2 * label - 1).view(-1, 1, 1, 1)
        return 0.1 * x + sign * (x.flatten(1) @ self.matrix).view_as(x)


@pytest.fixture(scope="module")
def matrix():
    """A symmetric positive matrix (64, 64): e is then a gradient, and its steepest direction is known."""
    root = torch.sin(torch.arange(D * D, dtype=torch.float32) ** 1.5).view(D, D) / 8
    return root @ root.T


@pytest.fixture(scope="module")
def base(matrix):
    return replace(toy_release(condition="label"), network=Pulled(matrix), guarantee=Guarantee(epsilon=3.0, delta=1e-5))


def released(base, **given):
    task = replace(toy_task("label"), base=base)
    defense = InitialNoise(**given)
    return defense.release(defense.fit(task), task)


ONES = torch.ones(8, dtype=torch.int64)
IDS = torch.arange(8)


def test_one_round_is_the_published_step(base, matrix):
    """With e(x) = A x it is x - gamma A d, d of length rho sqrt(D) along A x."""
    release = released(base, rho=0.4, gamma=0.5, rounds=1)
    x = release.initial_noise(IDS)
    e = x.flatten(1) @ matrix
    d = 0.4 * D**0.5 * e / e.norm(dim=1, keepdim=True)
    expected = x.flatten(1) - 0.5 * d @ matrix
    assert torch.allclose(release.adjusted(x, ONES).flatten(1), expected, atol=1e-4)


def test_its_rounds_shorten_the_pull(base):
    release = released(base, rho=0.4, gamma=0.2, rounds=2)
    x = release.initial_noise(IDS)
    before, after = (release.pull(noise, ONES).flatten(1).norm(dim=1) for noise in (x, release.adjusted(x, ONES)))
    assert bool((after < before).all())


def test_at_nothing_it_is_its_base_to_the_bit(base):
    release = released(base, rounds=0, opening=0)
    assert torch.equal(release.sample(5), base.sample(5)) and release.eps_is_raw
    assert release.guarantee == base.guarantee


def test_a_condition_that_pulls_nowhere_changes_nothing(matrix):
    base = replace(toy_release(condition="label"), network=Pulled(0 * matrix))
    assert torch.equal(released(base, opening=0).sample(5), base.sample(5))


def test_its_opening_steps_know_no_condition(base):
    release = released(base, rounds=0, opening=1.0)
    zeros = torch.zeros_like(ONES)
    assert torch.equal(release.sample(8, zeros), release.sample(8, ONES))
    assert not torch.equal(released(base, rounds=0, opening=0.4).sample(8, zeros), base.sample(8, zeros))


def test_a_guided_base_is_asked_for_its_empty_condition(base):
    guided = PretrainedRelease(*(getattr(base, name) for name in ("network", "schedule", "streams", "shape", "device")))
    release = released(replace(guided, guidance=4.0))
    x, t = release.initial_noise(IDS), torch.full((8,), 500)
    assert torch.allclose(release.unconditional(x, t, ONES), 0.1 * x)


def test_what_steers_stands_below_it():
    below = (ChainLink("plain", Plain()), ChainLink("initial_noise", InitialNoise()))
    assert "initial_noise" in _skip_order(below, CPSample()).reason
    assert _skip_order((ChainLink("plain", Plain()), ChainLink("cpsample", CPSample())), InitialNoise()) is None


def test_without_a_condition_it_is_refused():
    setting = AuditSetting((Plain(),), "none", "nothing", 1000, 24)
    assert 'write condition = "label"' in InitialNoise().skip(setting).reason

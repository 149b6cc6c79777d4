"""Pairs of outputs of one noise: how they are drawn, and what a reader of pairs sees that one of samples does not."""

from dataclasses import dataclass, replace

import pytest
import torch

from leakbench.api import Access, AttributeTrainingSet, AuditSetting, Release
from leakbench.attacks.adaptive.adaptive_switching import AdaptiveSwitching, turned
from leakbench.defenses.attribute_switching import SwitchedRelease
from leakbench.measurement.attribute import draw_pairs
from leakbench.metrics.fairness import logits, train_attribute_classifier
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng
from leakbench.statistics import auc
from leakbench.testing.toys import SHAPE, toy_release, toy_rng

STREAMS = toy_rng()


def known(pairs, first):
    return AttributeTrainingSet(pairs, None, lambda question: torch.empty(0), first, STREAMS)


def pairs_where(shift):
    """Shared noise (200) with `shift` added for 1 and taken away for 0, so that either is drawn from nearly one law."""
    noise = STREAMS.of("pairs").normal(torch.arange(200), SHAPE)
    coin = STREAMS.of("coins").integers(torch.arange(200), 2)
    sign = (2.0 * coin - 1).view(-1, 1, 1, 1)
    return torch.cat([noise + sign * shift, noise - sign * shift], dim=1), coin


def auc_of(scores, coin):
    return auc(scores[coin == 1].double().numpy(), scores[coin == 0].double().numpy())


def test_what_one_sample_hides_a_pair_shows():
    shift = torch.zeros(SHAPE)
    shift[0, 2:4, 2:4] = 0.2
    pairs, coin = pairs_where(shift)
    fitted = AdaptiveSwitching().fit(known(pairs[:120], coin[:120]))
    assert auc_of(fitted.score(None, pairs[120:], None).detach(), coin[120:]).value > 0.95
    single = train_attribute_classifier(pairs[:120, :1], coin[:120], STREAMS.of("single"))
    assert auc_of(logits(single, pairs[120:, :1]), coin[120:]).value < 0.8


def test_where_there_is_nothing_to_tell_nothing_is_told():
    pairs, coin = pairs_where(torch.zeros(SHAPE))
    pairs[:, 1] += STREAMS.of("other").normal(torch.arange(200), SHAPE[1:])
    pairs[:, 0] += STREAMS.of("another").normal(torch.arange(200), SHAPE[1:])
    fitted = AdaptiveSwitching().fit(known(pairs[:120], coin[:120]))
    found = auc_of(fitted.score(None, pairs[120:], None).detach(), coin[120:])
    assert found.low < 0.5 < found.high


def test_a_pair_turned_round_has_the_opposite_score_and_the_unfitted_attack_is_left_as_it_was(hurried):
    pairs, coin = pairs_where(torch.full(SHAPE, 0.1))
    attack = AdaptiveSwitching()
    fitted = attack.fit(known(pairs, coin))
    torch.testing.assert_close(fitted.score(None, turned(pairs), None), -fitted.score(None, pairs, None))
    assert attack._reader is None and fitted._reader is not None
    assert torch.equal(turned(turned(pairs)), pairs) and torch.equal(turned(pairs)[:, 0], pairs[:, 1])


# How the harness draws them -------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """What `draw_pairs` reads of a run's inputs."""

    samples: int
    device = torch.device("cpu")

    @property
    def suite(self):
        return self

    file = quality = suite

    def streams(self, seed):
        return Rng("pairs", seed)


@dataclass
class Subject:
    release: Release
    inputs: Bench
    seed: int = 3


def switched(tau):
    base = toy_release(16, "attribute")
    base.network.label.weight.mul_(5.0)
    return SwitchedRelease.wrap(base, tau=tau)


def test_a_pair_is_one_noise_asked_for_both_values_in_the_order_of_the_coin():
    release = switched(400)
    drawn = draw_pairs(Subject(release, Bench(30)), raw=False)
    zero, one = (release.sample(30, torch.full((30,), value), first=60) for value in (0, 1))
    assert not torch.allclose(zero, one, atol=1e-3)
    for i, coin in enumerate(drawn.attribute.tolist()):
        expected = (one[i], zero[i]) if coin else (zero[i], one[i])
        assert torch.equal(drawn.images.images[i], torch.cat(expected))
    assert 5 < int(drawn.attribute.sum()) < 25 and drawn.images.labels is None
    assert not set(drawn.images.ids.tolist()) & set(range(30))  # none is one of the audited samples


def test_asked_raw_the_pairs_are_the_unswitched_networks():
    release = switched(400)
    raw, plainly = (draw_pairs(Subject(one, Bench(10)), raw=True) for one in (release, release.base))
    assert torch.equal(raw.images.images, plainly.images.images)
    assert not torch.equal(raw.images.images, draw_pairs(Subject(release, Bench(10)), raw=False).images.images)


@pytest.mark.parametrize("condition", ["none", "label", "attribute"])
def test_it_applies_where_the_attribute_conditions(condition):
    place = AuditSetting((), condition, "nothing", Schedule().T, 10)
    assert (AdaptiveSwitching().skip(place) is None) is (condition == "attribute")
    assert AdaptiveSwitching.access is Access.API
    assert AdaptiveSwitching().skip(replace(place, parts=frozenset())).severity == "not-applicable"

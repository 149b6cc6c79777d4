"""A shipped classifier is asked as a loop would ask it; on one that memorised, members stand out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from leakbench.api import Access, AuditSetting
from leakbench.api.answer_cache import QueriedRelease
from leakbench.attacks.membership.shipped_classifier import ShippedClassifier
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.networks import NetworkSpec, build
from leakbench.testing.toys import SHAPE, toy_images, toy_release, toy_rng

COUNT = 20
PART = Images(toy_images(COUNT, "attacked"), torch.arange(COUNT) + 100, None)
LOGITS = NetworkSpec(kind="mlp", shape=SHAPE, width=32, blocks=1, outputs="logit")


def classifier() -> torch.nn.Module:
    """Random weights; its logits are large enough to pass a gate now and then."""
    made = build(LOGITS, toy_rng().of("classifier")).eval().requires_grad_(False)
    with torch.no_grad():
        made.exit[1].weight *= 8
    return made


def scores(attack: ShippedClassifier, part: Images = PART, batch: int = 16, ships=None) -> np.ndarray:
    release = replace(toy_release(batch), parts={"classifier": ships or classifier()})
    return AttackTarget(QueriedRelease(release, torch.Tensor), toy_rng()).score(
        {"": AttackRequest(attack, True)}, part
    )[0][""]


@pytest.mark.parametrize(("below", "timesteps"), [(100, 10), (60, 4), (1, 1)])
def test_confidence_is_the_plain_loop(below, timesteps):
    found, net = scores(ShippedClassifier(below=below, timesteps=timesteps)), classifier()
    for i in range(COUNT):
        walk = [k * below // timesteps for k in range(timesteps)]
        logits = [float(net(PART.images[i : i + 1], torch.tensor([t]))) for t in walk]
        assert found[i] == pytest.approx(np.mean(np.abs(logits)), rel=1e-5)


@pytest.mark.parametrize("alpha", [0.25, 0.05])
def test_the_share_of_open_gates_is_the_plain_loop(alpha):
    found, net = scores(ShippedClassifier(by="gate", timesteps=4, draws=3, alpha=alpha)), classifier()
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    expected = []
    for i in range(COUNT):
        fired = []
        for t in (0, 25, 50, 75):
            for draw in range(3):
                noise = toy_rng().of("attacking", "forward").normal(PART.ids[i : i + 1], SHAPE, draw)
                x_t = float(alpha_bar[t]) ** 0.5 * PART.images[i : i + 1] + float(1 - alpha_bar[t]) ** 0.5 * noise
                p = float(torch.sigmoid(net(x_t, torch.tensor([t])).double()))
                fired.append(p < alpha or p > 1 - alpha)
        expected.append(np.mean(fired))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert 0 < np.mean(expected) < 1


@pytest.mark.parametrize("by", ["confidence", "gate"])
def test_neither_batches_nor_order_change_the_scores(by):
    attack = ShippedClassifier(by=by)
    whole, order = scores(attack), torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(scores(attack, batch=3), whole, rtol=1e-5)
    np.testing.assert_allclose(scores(attack, PART.take(order)), whole[order], rtol=1e-5)


class Sure(torch.nn.Module):
    """Sure of what it has seen: logits of +-40 and +-41, at which a float32 probability is 0 or 1."""

    def __init__(self, known: torch.Tensor) -> None:
        super().__init__()
        self.known = known.flatten(1)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen = torch.cdist(x.flatten(1), self.known).amin(dim=1) < 1.0
        return torch.where(seen, 41.0, 40.0) * torch.where(x.flatten(1)[:, 0] > 0, 1.0, -1.0)


def test_members_stand_out_on_either_side_and_beyond_the_precision_of_probabilities():
    found = scores(ShippedClassifier(), ships=Sure(PART.images[:10]))
    assert (PART.images[:10, 0, 0, 0] > 0).unique().numel() == 2  # labels 0 and 1
    assert roc_auc_score([1] * 10 + [0] * 10, found) == 1.0


def test_it_applies_where_a_classifier_ships_and_to_weights_alone():
    assert ShippedClassifier.access is Access.WEIGHTS
    place = AuditSetting((), "none", "nothing", timesteps=50, images=10)
    assert ShippedClassifier().skip(place).reason == "it asks at t = 90, and the noise schedule ends at t = 49"
    assert ShippedClassifier(below=50).skip(place) is None
    lacking = ShippedClassifier().skip(replace(place, parts=frozenset({"members"})))
    assert lacking.severity == "not-applicable" and "(classifier)" in lacking.reason

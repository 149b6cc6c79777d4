"""RMIA against a loop written by hand; what its signal may be; what needs public images."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from leakbench.api.answer_cache import QueriedRelease
from leakbench.attacks.membership.rmia import RMIA
from leakbench.data.image_batch import Images
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.runtime.errors import UsageError
from leakbench.testing.toys import SHAPE, toy_images, toy_release, toy_rng

COUNT = 12
PARTS = ("member", "nonmember", "calibration_in", "calibration_out", "reference")
SPLIT = {
    name: Images(toy_images(COUNT, name), torch.arange(COUNT) + number * COUNT, None)
    for number, name in enumerate(PARTS)
}
SHADOWS = 3
ROWS = [np.random.default_rng([0, k]).permutation(4 * COUNT)[: 2 * COUNT] for k in range(SHADOWS)]


def target() -> AttackTarget:
    others = {
        f"shadow-{k}": AuxiliaryRelease(QueriedRelease(toy_release(16, weights=f"shadow {k}"), torch.Tensor), rows)
        for k, rows in enumerate(ROWS)
    }
    return AttackTarget.of(toy_release(16), toy_rng(), others=others)


@cache
def network(weights: str) -> torch.nn.Module:
    return toy_release(weights=weights).network


def signal(weights: str, image: torch.Tensor, number: int, temperature: float) -> float:
    """exp(-loss / temperature) of one image at t = 100, draw 0."""
    noise = toy_rng().of("attacking", "forward").normal(torch.tensor([number]), SHAPE)
    alpha_bar = np.prod(1 - np.linspace(1e-4, 0.02, 1000)[:101])
    x_t = (np.sqrt(alpha_bar) * image[None].double() + np.sqrt(1 - alpha_bar) * noise.double()).float()
    loss = (network(weights)(x_t, torch.tensor([100])) - noise).double().square().mean()
    return math.exp(-float(loss) / temperature)


def marginal(image: torch.Tensor, number: int, mode: str, a: float, temperature: float) -> float:
    """P(x) of one image over the shadow models."""
    inside, outside = [], []
    for k, rows in enumerate(ROWS):
        (inside if number in rows else outside).append(signal(f"shadow {k}", image, number, temperature))
    if not outside:
        return float(np.mean(inside))
    if mode == "online" and inside:
        return float((np.mean(inside) + np.mean(outside)) / 2)
    return float(((1 + a) * np.mean(outside) + 1 - a) / 2)


def ratio(part: str, row: int, **how) -> float:
    image, number = SPLIT[part].images[row], int(SPLIT[part].ids[row])
    return signal("plain", image, number, how["temperature"]) / marginal(image, number, **how)


@pytest.mark.parametrize(
    ("mode", "a", "gamma", "temperature"),
    [("online", 0.3, 1.0, 1.0), ("offline", 0.3, 1.0, 1.0), ("offline", 0.9, 1.1, 0.5)],
)
def test_the_score_is_the_plain_loop(mode, a, gamma, temperature):
    attack = RMIA(shadows=SHADOWS, draws=1, mode=mode, a=a, gamma=gamma, temperature=temperature)
    found = collect_membership_evidence(target(), {"": AttackRequest(attack, False)}, SPLIT)[0][""]
    how = {"mode": mode, "a": a, "temperature": temperature}
    inside = {sum(i in rows for rows in ROWS) for i in range(2 * COUNT)}
    assert inside == {0, 1, 2, 3}  # images in none of the shadow models, and in all
    z = [ratio("reference", row, **how) for row in range(COUNT)]
    for part, scores in (("member", found.member_scores), ("nonmember", found.nonmember_scores)):
        r = [ratio(part, row, **how) for row in range(COUNT)]
        expected = [np.mean([r_x / r_z > gamma for r_z in z]) for r_x in r]
        np.testing.assert_allclose(np.floor(scores * COUNT) / COUNT, expected, atol=1e-12)  # the share, in steps
        assert (np.argsort(scores) == np.argsort(r)).all()  # within a step, by the ratio
    assert len(set(found.member_scores)) == COUNT


def test_public_images_themselves_score_evenly():
    """z against z: the ranks 0, 1/n, .., (n - 1)/n, whatever the network."""
    split = SPLIT | {"member": SPLIT["reference"]}
    found = collect_membership_evidence(
        target(), {"": AttackRequest(RMIA(shadows=SHADOWS, mode="offline"), False)}, split
    )[0][""]
    np.testing.assert_allclose(np.floor(np.sort(found.member_scores) * COUNT), np.arange(COUNT))


@pytest.mark.parametrize("temperature", [0.001, 1.0, 100.0])
def test_the_signal_is_a_probability_that_falls_with_the_loss(temperature):
    found = RMIA(temperature=temperature)._signal(torch.tensor([0.0, 1e-3, 0.5, 2.0, 1e9]))
    assert found[0] == 1 and (found > 0).all() and (found <= 1).all() and (found.diff() <= 0).all()
    assert found[1] == pytest.approx(np.exp(-1e-3 / temperature), rel=1e-6)


def test_a_perfect_reference_gives_ratio_one():
    """The target among the references: with one that is its twin, P(x|target) / P(x) is 1 for an image that lies in."""
    signals = torch.tensor([[0.7]], dtype=torch.float64)
    assert float(0.7 / RMIA()._marginal(signals, torch.tensor([[True]]))) == 1.0
    assert float(0.7 / RMIA(mode="offline", a=1)._marginal(signals, torch.tensor([[False]]))) == pytest.approx(1.0)


def test_without_public_images_it_says_what_is_missing():
    split = SPLIT | {"reference": SPLIT["reference"].take(torch.arange(0))}
    with pytest.raises(UsageError, match="rmia compares with public images, and the split's reference part is empty"):
        collect_membership_evidence(target(), {"": AttackRequest(RMIA(shadows=SHADOWS), False)}, split)


@pytest.mark.parametrize("wrong", [{"a": 1.5}, {"gamma": 0}, {"temperature": 0}, {"mode": "both"}, {"shadows": 0}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        RMIA(**wrong)

"""The blind baseline finds what is wrong with a split, and nothing in a right one; it asks no model."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from leakbench.api import Access, Release
from leakbench.attacks.membership.blind import Blind
from leakbench.data.image_batch import Images
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng

PARTS = ("member", "nonmember", "calibration_in", "calibration_out")


class Untouchable(torch.nn.Module):
    def forward(self, *_: object) -> torch.Tensor:
        raise AssertionError("the blind baseline asked the network")


def target(batch: int = 128) -> AttackTarget:
    streams = Rng("test", 0)
    release = Release(Untouchable(), Schedule(), streams, (1, 8, 8), torch.device("cpu"), batch=batch)
    return AttackTarget.of(release, streams)


def digits(seed: int) -> torch.Tensor:
    raw = load_digits().images
    return torch.tensor(raw[np.random.default_rng(seed).permutation(len(raw))] / 8 - 1, dtype=torch.float32)[:, None]


def split(images: torch.Tensor, shift=lambda x: x) -> dict[str, Images]:
    """400 reported and 300 calibration images a side; what was trained on is shifted."""
    sizes, start, parts = (400, 400, 300, 300), 0, {}
    for part, size in zip(PARTS, sizes, strict=True):
        ids = torch.arange(start, start + size)
        chosen = images[ids]
        parts[part] = Images(shift(chosen) if part in ("member", "calibration_in") else chosen, ids, None)
        start += size
    return parts


def auc(parts: dict[str, Images], **more: int) -> float:
    evidence, queries = collect_membership_evidence(target(**more), {"blind": AttackRequest(Blind(), False)}, parts)
    found = evidence["blind"]
    assert queries == {"blind": 0.0}
    truth = [1] * len(found.member_scores) + [0] * len(found.nonmember_scores)
    return float(roc_auc_score(truth, np.concatenate([found.member_scores, found.nonmember_scores])))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_random_split_stays_near_one_half(seed):
    assert abs(auc(split(digits(seed))) - 0.5) < 0.07  # 3.3 standard errors at 400 + 400


@pytest.mark.parametrize(
    "shift",
    [
        pytest.param(lambda x: (x + 0.15).clamp(-1, 1), id="brighter"),
        pytest.param(lambda x: x.roll(1, dims=-1), id="moved by a pixel"),
        pytest.param(lambda x: x.flip(-1), id="mirrored"),
    ],
)
def test_a_planted_shift_is_found(shift):
    assert auc(split(digits(0), shift)) > 0.7


def test_its_calibration_scores_are_out_of_fold():
    """In sample, a reader of this many features separates 300 from 300 images well; out of fold it cannot."""
    parts = split(digits(0))
    found = collect_membership_evidence(target(), {"blind": AttackRequest(Blind(), False)}, parts)[0]["blind"]
    inside, outside = found.calibration_member_scores, found.calibration_nonmember_scores
    both = torch.cat([parts["calibration_in"].images, parts["calibration_out"].images])
    member = np.repeat([True, False], 300)
    in_sample = Blind().fit(type("C", (), {"images": both, "is_member": member})()).score(None, both, None)
    assert roc_auc_score(member, in_sample) > 0.6
    assert abs(roc_auc_score(member, np.concatenate([inside, outside])) - 0.5) < 0.08


def test_batches_and_order_change_no_score():
    parts = split(digits(0), lambda x: (x + 0.15).clamp(-1, 1))
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    turned = parts | {"member": parts["member"].take(order.numpy())}
    one = collect_membership_evidence(target(128), {"": AttackRequest(Blind(), False)}, parts)[0][""]
    other = collect_membership_evidence(target(37), {"": AttackRequest(Blind(), False)}, turned)[0][""]
    np.testing.assert_allclose(other.member_scores, one.member_scores[order.numpy()], rtol=1e-6, atol=1e-9)


def test_it_needs_nothing_and_learns():
    assert Blind().access is Access.NONE and Blind().learns and Blind().auxiliary_models() == ()

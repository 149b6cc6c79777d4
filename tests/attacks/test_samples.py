"""Attacks on samples alone against loops written by hand; they fire on copies and not on fresh draws."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from leakbench.api import Access, MembershipAttack
from leakbench.api.answer_cache import QueriedRelease
from leakbench.attacks.membership.gan_leaks import GANLeaks
from leakbench.attacks.membership.monte_carlo import MonteCarlo
from leakbench.data.image_batch import Images
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.runtime.errors import UsageError
from leakbench.testing.toys import toy_images, toy_release, toy_rng

COUNT = 14
PARTS = ("member", "nonmember", "calibration_in", "calibration_out", "reference")
SPLIT = {
    name: Images(toy_images(COUNT, name), torch.arange(COUNT) + number * COUNT, None)
    for number, name in enumerate(PARTS)
}
SHADOWS = 3
ROWS = [np.random.default_rng([0, k]).permutation(4 * COUNT)[: 2 * COUNT] for k in range(SHADOWS)]


def samples(name: str) -> torch.Tensor:
    return toy_images(40, f"samples of {name}")


def target(batch: int = 16, ours: torch.Tensor | None = None) -> AttackTarget:
    others = {
        f"shadow-{k}": AuxiliaryRelease(QueriedRelease(toy_release(batch), partial(samples, f"shadow {k}")), rows)
        for k, rows in enumerate(ROWS)
    }
    drawn = samples("target") if ours is None else ours
    return AttackTarget.of(toy_release(batch), toy_rng(), lambda: drawn, others)


def scores(attack: MembershipAttack, at: AttackTarget | None = None, split: dict[str, Images] = SPLIT) -> np.ndarray:
    """Of members, then nonmembers."""
    found, queries = collect_membership_evidence(at or target(), {"": AttackRequest(attack, False)}, split)
    assert queries == {"": 0.0}
    return np.concatenate([found[""].member_scores, found[""].nonmember_scores])


ATTACKED = torch.cat([SPLIT["member"].images, SPLIT["nonmember"].images]).double().flatten(1).numpy()


def nearest(x: np.ndarray, name: str) -> float:
    return min(math.dist(x, g) for g in samples(name).double().flatten(1).numpy())


def test_gan_leaks_is_the_plain_loop():
    np.testing.assert_allclose(scores(GANLeaks()), [-nearest(x, "target") for x in ATTACKED], rtol=1e-6)


def test_calibrated_gan_leaks_is_the_plain_loop():
    expected, counts = [], set()
    for number, x in enumerate(ATTACKED):
        references = [k for k in range(SHADOWS) if number not in ROWS[k]] or range(SHADOWS)
        counts.add(sum(number not in rows for rows in ROWS))
        expected.append(np.mean([nearest(x, f"shadow {k}") for k in references]) - nearest(x, "target"))
    assert {0, 1, 2, 3} == counts  # an image in all shadow models among them
    np.testing.assert_allclose(scores(GANLeaks(calibrated=True, shadows=SHADOWS)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("percentile", [0.1, 5.0, 30.0])
@pytest.mark.parametrize("form", ["share", "distance"])
def test_monte_carlo_is_the_plain_loop(form, percentile):
    public = SPLIT["reference"].images.double().flatten(1).numpy()
    axes = PCA(COUNT, random_state=0).fit(public).components_  # 120 are too many for 14 public images

    def distances(x: np.ndarray) -> list[float]:
        return sorted(math.dist(axes @ x, axes @ g) for g in samples("target").double().flatten(1).numpy())

    reach = sorted(distances(x)[max(1, round(percentile / 100 * 40)) - 1] for x in public)
    radius = reach[(COUNT - 1) // 2]
    expected = []
    for x in ATTACKED:
        near = [d for d in distances(x) if d <= radius]
        expected.append(len(near) / 40 if form == "share" else -sum(math.log(d / radius) for d in near) / 40)
    found = scores(MonteCarlo(form=form, percentile=percentile))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.std(found) > 0


@pytest.mark.parametrize("attack", [GANLeaks(), GANLeaks(calibrated=True, shadows=3), MonteCarlo(form="distance")])
def test_neither_batches_nor_order_change_the_scores(attack):
    whole = scores(attack)
    np.testing.assert_allclose(scores(attack, target(batch=5)), whole, rtol=1e-6, atol=1e-9)
    backwards = SPLIT | {name: SPLIT[name].take(torch.arange(COUNT - 1, -1, -1)) for name in PARTS[:2]}
    turned = scores(attack, split=backwards).reshape(2, COUNT)[:, ::-1].ravel()
    np.testing.assert_allclose(turned, whole, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("attack", [GANLeaks(), MonteCarlo(form="distance")])
def test_an_exact_copy_scores_highest_and_stays_finite(attack):
    found = scores(attack, target(ours=torch.cat([samples("target"), SPLIT["member"].images[:1]])))
    assert np.isfinite(found).all() and found.argmax() == 0


def digits() -> dict[str, Images]:
    raw = load_digits().images[np.random.default_rng(0).permutation(1797)]
    pictures = torch.tensor(raw / 8 - 1, dtype=torch.float32)[:, None]
    starts = [200, 400, 420, 440, 940]
    numbers = torch.arange(1797).tensor_split(starts)
    return {name: Images(pictures[rows], rows, None) for name, rows in zip((*PARTS, "rest"), numbers, strict=True)}


@pytest.mark.parametrize(
    ("attack", "bar"), [(GANLeaks(), 0.95), (MonteCarlo(), 0.75), (MonteCarlo(form="distance"), 0.95)]
)
def test_they_fire_on_a_model_that_copies_and_not_on_one_that_does_not(attack, bar):
    """A share counts two copies, and two neighbours of an easy image as well: it is the weaker form."""
    split = digits()
    truth = [1] * 200 + [0] * 200
    wobble = 0.05 * toy_rng().of("wobble").normal(torch.arange(400), (1, 8, 8))
    copies = split["member"].images.repeat(2, 1, 1, 1) + wobble
    assert roc_auc_score(truth, scores(attack, target(ours=copies), split)) > bar
    fresh = scores(attack, target(ours=split["rest"].images), split)
    assert abs(roc_auc_score(truth, fresh) - 0.5) < 0.09  # three standard errors at 200 + 200


def test_calibration_takes_off_what_is_close_to_everybodys_samples():
    """Members are hard images and nonmembers easy ones; the target copies no one."""
    split = digits()
    blank = split["nonmember"].images * 0.3 - 0.7  # near the mean of nothing: all close to each other
    split["nonmember"] = Images(blank, split["nonmember"].ids, None)
    everybody = torch.cat([split["rest"].images[:400], blank[::2] + 0.01])
    rows = np.arange(420, 440)
    others = {
        f"shadow-{k}": AuxiliaryRelease(QueriedRelease(toy_release(16), lambda: everybody.flip(0)), rows)
        for k in range(2)
    }
    at = AttackTarget.of(toy_release(16), toy_rng(), lambda: everybody, others)
    truth = [1] * 200 + [0] * 200
    assert roc_auc_score(truth, scores(GANLeaks(), at, split)) < 0.1
    np.testing.assert_allclose(scores(GANLeaks(calibrated=True, shadows=2), at, split), 0, atol=1e-12)


def test_what_they_need():
    assert GANLeaks.access is Access.SAMPLES and MonteCarlo.access is Access.SAMPLES
    assert GANLeaks().auxiliary_models() == () and len(GANLeaks(calibrated=True).auxiliary_models()) == 16
    assert MonteCarlo().learns and not MonteCarlo().out_of_fold
    with pytest.raises(UsageError, match="monte_carlo learns its distance from public images, and the split has 1"):
        scores(MonteCarlo(), split=SPLIT | {"reference": SPLIT["reference"].take(torch.arange(1))})

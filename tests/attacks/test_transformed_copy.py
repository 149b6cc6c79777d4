"""Copies planted under each transform, at all, a tenth and none of the samples; the level of the null by simulation."""

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate, pad

from leakbench.attacks.replication import transformed_copy
from leakbench.attacks.replication.carlini_pixel import CarliniPixel
from leakbench.attacks.replication.memorisation_ratio import MemorisationRatio
from leakbench.attacks.replication.nearest_copy import NearestCopy
from leakbench.attacks.replication.transformed_copy import TransformedCopy
from leakbench.data.aligned_search import KINDS, nearest_aligned
from leakbench.metrics.evaluate.replication import evaluate_replication
from leakbench.results.evidence import ReplicationEvidence

DIGITS = torch.from_numpy(load_digits().images[:, None] / 8 - 1).float()
DIGITS = DIGITS[torch.randperm(len(DIGITS), generator=torch.Generator().manual_seed(5))]
TRAIN, REAL = DIGITS[:300], DIGITS[300:]
COPIED, FRESH = 100, 500  # images copied; real images that are the threshold's, the null's, and the samples' in turn
TRANSFORMS = {
    "none": lambda x: x,
    "mirror": lambda x: x.flip(-1),
    "shift": lambda x: x.roll(2, -2),
    "scale": lambda x: interpolate(pad(x, (-1, 0, 0, -1)), size=(8, 8), mode="bicubic"),
    "light": lambda x: 0.6 * (x + 1) - 1,
    "mirror, shift, light": lambda x: 0.6 * (x.flip(-1).roll(1, -1) + 1) - 1,
}
PLANTED = torch.cat([change(TRAIN[:COPIED]) for change in TRANSFORMS.values()])
PLANTED = PLANTED + 0.03 * torch.randn(PLANTED.shape, generator=torch.Generator().manual_seed(6))
BLIND = {"pixels": NearestCopy(), "carlini": CarliniPixel(), "ratio": MemorisationRatio()}
BLIND["features"] = NearestCopy(by="features")


QUERIES = torch.cat([REAL, PLANTED])


@pytest.fixture(autouse=True)
def one_search(monkeypatch):
    """The four similarities share the search of the same images."""
    monkeypatch.setattr(transformed_copy, "nearest_aligned", SEARCH)


SEARCH = cache(nearest_aligned)


def embed(images):
    """A layer of random weights."""
    flat = images[:].flatten(1)
    return torch.relu(flat @ torch.randn(flat.shape[1], 40, generator=torch.Generator().manual_seed(7))) + 1e-3


@cache
def matches(attack):
    """Of all real images, then of the planted ones of each transform."""
    found = attack.match(QUERIES, TRAIN, embed)
    return found.split(len(REAL), *[COPIED] * len(TRANSFORMS))


def evidence(attack, name, copies):
    """Samples of which so many copy: the others are real images that no one trained on."""
    real, *planted = matches(attack)
    some = planted[[*TRANSFORMS].index(name)]
    samples = [
        np.concatenate([ours[:copies], theirs[2 * FRESH : 2 * FRESH + COPIED - copies]])
        for ours, theirs in ((some.similarity, real.similarity), (some.index, real.index))
    ]
    told = None
    if real.transforms is not None:
        told = np.concatenate([some.transforms[:copies], real.transforms[2 * FRESH : 2 * FRESH + COPIED - copies]])
    return ReplicationEvidence(*samples, real.similarity[:FRESH], real.similarity[FRESH : 2 * FRESH], transforms=told)


def metrics(found):
    return {one.name: one for one in evaluate_replication(found, grows=False).metrics}


def excess(attack, name, copies):
    return metrics(evidence(attack, name, copies))["copy_rate_excess"]


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("by", ["relative", "pixels", "ratio", "features"])
def test_copies_under_every_transform_are_counted(by, name):
    attack = TransformedCopy(by=by)
    everyone, some, none = (excess(attack, name, copies) for copies in (COPIED, COPIED // 10, 0))
    assert everyone.value > 0.8 and everyone.ci_low > 0.7
    assert 0.05 <= some.value <= 0.15 and some.ci_low > 0
    assert none.ci_low < 0 < none.ci_high
    found = matches(attack)[1 + [*TRANSFORMS].index(name)]
    assert (found.index == np.arange(COPIED)).mean() >= 0.95


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name != "none"])
@pytest.mark.parametrize("attack", BLIND.values(), ids=BLIND)
def test_attacks_on_images_as_they_stand_see_none_of_them(attack, name):
    assert excess(attack, name, COPIED).value < 0.35 and excess(attack, "none", COPIED).value > 0.9


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_shares_say_which_transform_made_the_copies(name):
    found = evaluate_replication(evidence(TransformedCopy(), name, COPIED // 2))
    values = {one.name: one.value for one in found.metrics}
    shares = {kind: values[f"copy_rate@transform={kind}"] for kind in ("none", *KINDS)}
    told = name.split(", ")
    assert {kind for kind, share in shares.items() if share > 0.4} == {*told}
    assert all(share < 0.05 for kind, share in shares.items() if kind not in told)
    assert found.info["transforms"] == [*KINDS]


@pytest.mark.parametrize("by", ["relative", "pixels", "ratio", "features"])
def test_the_null_holds_its_level(by):
    """In 2,000 divisions of held-out digits into threshold, null and samples (400 each) the null's rate was 1.23 to
    1.25 % on average (4 of 400 may reach the threshold, so 5 in 401 were expected), and the excess lay above 0 in 1.1
    to 1.7 % (2.5 at most). Here in 300."""
    similarity, draw = matches(TransformedCopy(by=by))[0].similarity, np.random.default_rng(0)
    alarms, rates = 0, []
    for _ in range(300):
        threshold, null, samples = np.split(draw.permutation(similarity)[:1200], 3)
        found = metrics(ReplicationEvidence(samples, np.zeros(400, int), threshold, null))
        alarms += found["copy_rate_excess"].ci_low > 0
        rates.append(found["copy_rate_null"].value)
    assert abs(np.mean(rates) - 5 / 401) < 0.002 and alarms <= 16  # 2.5 % of 300, and three standard deviations


def test_duplicates_in_the_training_set_hide_no_copy_from_the_ratio():
    crowd = torch.cat([TRAIN[:1].repeat(60, 1, 1, 1), TRAIN[1:20]])
    copy = TransformedCopy(by="ratio").match(TRAIN[:1].flip(-1), crowd, embed)
    assert copy.similarity[0] == 0 and copy.transforms[0] == 1


def test_fewer_training_images_than_neighbours_are_all_taken():
    found = TransformedCopy().match(torch.cat([TRAIN[:1], REAL[:3]]), TRAIN[:3], embed)
    assert found.similarity[0] == pytest.approx(0, abs=1e-6) and bool((found.similarity[1:] < -0.5).all())

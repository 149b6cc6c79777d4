"""Carlini's two distances beside plain loops; copies at 0; groups beside a search by hand; nulls on real digits."""

from __future__ import annotations

from math import inf, nextafter, sqrt

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from leakbench.api import AuditSetting
from leakbench.attacks.replication.carlini_pixel import CarliniPixel
from leakbench.attacks.replication.carlini_tiled import CarliniTiled
from leakbench.attacks.replication.memorisation_ratio import MemorisationRatio
from leakbench.metrics.copying import copy_report, threshold_at
from leakbench.runtime.device import Rng

STREAMS = Rng("test", 0)
TRAIN = torch.tanh(STREAMS.of("train").normal(torch.arange(70), (3, 10, 12)))
QUERIES = torch.tanh(STREAMS.of("queries").normal(torch.arange(20), (3, 10, 12)))
QUERIES[4] = TRAIN[66]
QUERIES[9] = TRAIN[3] + 0.05 * STREAMS.of("near").normal(torch.arange(1), (3, 10, 12))[0]
ATTACKS = [CarliniPixel(), CarliniPixel(alpha=1.3, neighbours=7), CarliniTiled(), CarliniTiled(grid=3)]


def unused(images: torch.Tensor) -> torch.Tensor:
    raise AssertionError("embedded")


def relative(query: np.ndarray, train: np.ndarray, alpha: float, neighbours: int) -> tuple[int, float]:
    """r by the paper's formula, pixels in [0, 1]."""
    distances = [sqrt((((query - x) / 2) ** 2).mean()) for x in train]
    return int(np.argmin(distances)), min(distances) / (alpha * np.mean(sorted(distances)[:neighbours]))


def tiled(query: np.ndarray, train: np.ndarray, grid: int) -> tuple[int, float]:
    """The largest tile distance by loops, pixels in [0, 1]."""
    rows, columns = (np.array_split(np.arange(side), grid) for side in query.shape[1:])
    distances = [
        max(sqrt((((query - x)[:, r][:, :, c] / 2) ** 2).mean()) for r in rows for c in columns) for x in train
    ]
    return int(np.argmin(distances)), min(distances)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_it_is_the_papers_distance_by_loops(attack):
    found = attack.match(QUERIES, TRAIN, unused)
    ours, train = QUERIES.double().numpy(), TRAIN.double().numpy()
    for i, query in enumerate(ours):
        if isinstance(attack, CarliniPixel):
            index, distance = relative(query, train, attack.alpha, attack.neighbours)
        else:
            index, distance = tiled(query, train, attack.grid)
        assert found.index[i] == index and -found.similarity[i] == pytest.approx(distance, abs=1e-6)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_a_training_image_is_at_distance_zero(attack):
    found = attack.match(TRAIN, TRAIN, unused)
    assert np.array_equal(found.index, np.arange(70)) and bool((found.similarity == 0).all())


@pytest.mark.parametrize("attack", [CarliniPixel(), CarliniTiled()], ids=str)
def test_the_papers_threshold_takes_copies_for_copies(attack):
    found = attack.match(QUERIES, TRAIN, unused)
    assert np.flatnonzero(found.similarity >= attack.published).tolist() == [4, 9]


def test_the_published_rules_at_their_edge():
    assert CarliniPixel().published == nextafter(-1.0, inf)  # r < 1: 1 itself is no copy
    assert CarliniTiled(delta=0.2).published == -0.2  # within 0.2
    assert MemorisationRatio().published == nextafter(-1 / 3, inf)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_batches_and_order_do_not_matter(attack):
    whole = attack.match(QUERIES, TRAIN, unused)
    order = np.random.default_rng(0).permutation(20)
    turned = attack.match(QUERIES[order], TRAIN, unused)
    assert np.array_equal(turned.index, whole.index[order])
    np.testing.assert_allclose(turned.similarity, whole.similarity[order], rtol=1e-12)
    parts = [attack.match(rows, TRAIN, unused) for rows in QUERIES.split(7)]
    np.testing.assert_allclose(np.concatenate([p.similarity for p in parts]), whole.similarity, rtol=1e-12)


def test_fifty_copies_of_one_image_are_no_division_by_zero():
    crowd = torch.cat([TRAIN[:1].repeat(60, 1, 1, 1), TRAIN[1:]])
    assert CarliniPixel().match(TRAIN[:1], crowd, unused).similarity[0] == 0


def test_too_few_training_images_are_named_before_anything_is_trained():
    assert "49 training images" in CarliniPixel().skip(AuditSetting((), "none", "nothing", 1000, 49)).reason
    assert CarliniPixel().skip(AuditSetting((), "none", "nothing", 1000, 50)) is None


def test_tiles_are_for_larger_images():
    found = CarliniTiled().skip(AuditSetting((), "none", "nothing", 1000, 400, pixels=64))
    assert found.severity == "not-applicable" and "1024" in found.reason
    assert CarliniTiled().skip(AuditSetting((), "none", "nothing", 1000, 400, pixels=1024)) is None


def test_groups_are_those_of_a_breadth_first_search():
    families = torch.tanh(STREAMS.of("families").normal(torch.arange(4), (1, 8, 8)))
    sizes = (15, 10, 9, 1)
    images = torch.cat([f[None].repeat(n, 1, 1, 1) for f, n in zip(families, sizes, strict=True)])
    images = images + 0.04 * STREAMS.of("jitter").normal(torch.arange(len(images)), (1, 8, 8))
    chain = families[3] + 0.1 * torch.arange(12.0)[:, None, None, None]  # each next to the last, the ends far apart
    images = torch.cat([images, chain])[torch.randperm(47, generator=torch.Generator().manual_seed(0))]
    attack, everything = CarliniTiled(), images.double().numpy()
    found = attack.groups(images)
    near = [[tiled(a, [b], 4)[1] <= attack.d for b in everything] for a in everything]
    assert np.array_equal(found >= 0, [len(reached(near, i)) >= 10 for i in range(47)])
    for i in np.flatnonzero(found >= 0):
        assert set(np.flatnonzero(found == found[i])) == reached(near, i)
    assert sorted(np.unique(found[found >= 0], return_counts=True)[1]) == [10, 13, 15]


def reached(near: list[list[bool]], start: int) -> set[int]:
    found, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        new = {j for j, close in enumerate(near[here]) if close} - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("attack", [CarliniPixel(), MemorisationRatio()], ids=str)
def test_held_out_digits_reach_a_calibrated_threshold_as_often_as_was_aimed_at(attack):
    digits = torch.from_numpy(load_digits().images[:, None] / 8 - 1).float()
    digits = digits[torch.randperm(len(digits), generator=torch.Generator().manual_seed(1))]
    train, aimed, null = digits[:400], digits[400:1100], digits[1100:]
    for rate in (0.01, 0.1):
        threshold = threshold_at(attack.match(aimed, train, unused).similarity, rate)
        match = attack.match(null, train, unused)
        report = copy_report(match.similarity, match.index, match.similarity, threshold)
        # The threshold is estimated as well: what both samplings explain at 99 %.
        assert abs(report["copy_rate_null"].value - rate) < 2.6 * sqrt(rate * (1 - rate) * (1 / 700 + 1 / 697))

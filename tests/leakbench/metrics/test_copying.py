"""Similarities beside scipy and scikit-learn, thresholds by their definition, and reports on planted copies."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import cosine_similarity

from leakbench.data.neighbours import Matches
from leakbench.metrics.copying import (
    CopyGroups,
    copy_report,
    feature_similarity,
    max_copy_share,
    pixel_similarity,
    rarefied_unique,
    similarity_bands,
    threshold_at,
    unique_copies_by_n,
)
from leakbench.statistics.proportions import clopper_pearson, difference, proportion


def images(seed: int, count: int) -> torch.Tensor:
    return torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_pixel_similarity_is_minus_the_rms_difference():
    ours, train = images(0, 20), images(1, 50)
    ours[3] = train[17]
    matches = pixel_similarity(ours, train)
    distance = cdist(ours.flatten(1), train.flatten(1)) / np.sqrt(48)
    np.testing.assert_array_equal(matches.index, distance.argmin(axis=1))
    np.testing.assert_allclose(matches.similarity, -distance.min(axis=1), rtol=1e-12)
    assert matches.index[3] == 17 and matches.similarity[3] == 0


def test_feature_similarity_is_the_cosine():
    generator = torch.Generator().manual_seed(2)
    ours, train = torch.randn(20, 9, generator=generator), torch.randn(50, 9, generator=generator)
    ours[3] = 4 * train[17]
    matches = feature_similarity(ours, train)
    cosine = cosine_similarity(ours.double(), train.double())
    np.testing.assert_array_equal(matches.index, cosine.argmax(axis=1))
    np.testing.assert_allclose(matches.similarity, cosine.max(axis=1), atol=1e-12)
    assert matches.index[3] == 17 and matches.similarity[3] == pytest.approx(1.0, abs=1e-15)
    assert bool((feature_similarity(train, train).similarity == 1.0).all())
    with pytest.raises(ValueError, match="all zero"):
        feature_similarity(torch.zeros(1, 9), train)


@given(
    st.lists(st.integers(-5, 5).map(float) | st.floats(-3, 3), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.01, 0.07, 0.1, 0.29, 0.5, 0.99]),
)
def test_the_threshold_is_the_smallest_that_holds_the_rate(values, rate):
    similarity = np.array(values)
    threshold = threshold_at(similarity, rate)
    assert (similarity >= threshold).mean() <= rate + 1e-12
    assert (similarity >= np.nextafter(threshold, -np.inf)).mean() > rate + 1e-12


def test_threshold_examples():
    assert threshold_at(np.arange(100.0), 0.01) == np.nextafter(98.0, np.inf)
    assert threshold_at(np.arange(100.0), 0.29) == np.nextafter(70.0, np.inf)
    assert threshold_at(np.ones(100), 0.5) > 1  # all tie: none may pass
    assert threshold_at(np.array([0.25]), 0.01) > 0.25
    with pytest.raises(ValueError, match="held-out images"):
        threshold_at(np.array([]))
    with pytest.raises(ValueError, match="finite"):
        threshold_at(np.array([np.nan, 1.0]))
    with pytest.raises(ValueError, match="null_rate"):
        threshold_at(np.ones(3), 1.0)


def test_report_of_planted_copies():
    train, heldout, null, samples = images(3, 200), images(4, 400), images(5, 300), images(6, 100)
    samples[:12] = train[[0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]] + 0.001
    threshold = threshold_at(pixel_similarity(heldout, train).similarity)
    matches, nulls = pixel_similarity(samples, train), pixel_similarity(null, train).similarity
    report = copy_report(matches.similarity, matches.index, nulls, threshold)
    copies, false = int((matches.similarity >= threshold).sum()), int((nulls >= threshold).sum())
    assert copies >= 12 and false <= 12
    assert report["copy_rate"] == clopper_pearson(copies, 100)
    assert report["copy_rate_null"] == clopper_pearson(false, 300)
    assert report["copy_rate_excess"] == difference(copies, 100, false, 300) and report["copy_rate_excess"].low > 0
    assert report["unique_copies"].value == len(set(matches.index[matches.similarity >= threshold])) >= 9
    assert report["unique_copies"].n == 100


def test_unique_copies_interval():
    none = copy_report(np.zeros(100), np.zeros(100, int), np.zeros(50), 1.0)["unique_copies"]
    assert none.value == none.low == 0 and 3 < none.high < 4  # the rule of three
    index = np.array([1, 1, 2, 3])
    found = copy_report(np.ones(4), index, np.zeros(50), 1.0)["unique_copies"]
    once = clopper_pearson(2, 4)
    assert (found.value, found.low, found.high) == (3, 1 + 4 * once.low, 1 + 4 * once.high)


def test_the_unique_copies_interval_covers():
    rng = np.random.default_rng(0)
    chance = np.array([0.9] + [0.1 / 60] * 60)  # 90 % land on one image, the rest on sixty others

    def draw() -> np.ndarray:
        return rng.choice(61, 400, p=chance)

    expected = np.mean([len(np.unique(draw())) for _ in range(2000)])
    reports = [copy_report(np.ones(400), draw(), np.zeros(9), 1.0)["unique_copies"] for _ in range(300)]
    assert np.mean([r.low <= expected <= r.high for r in reports]) > 0.94


def test_a_data_set_that_copies_nothing_shows_no_excess():
    train, threshold_set, null, samples = images(7, 100), images(8, 500), images(9, 500), images(10, 500)
    threshold = threshold_at(pixel_similarity(threshold_set, train).similarity, 0.05)
    matches, nulls = pixel_similarity(samples, train), pixel_similarity(null, train).similarity
    excess = copy_report(matches.similarity, matches.index, nulls, threshold)["copy_rate_excess"]
    assert excess.low < 0 < excess.high


def test_growth_is_the_mean_over_random_subsets_of_the_samples():
    rng = np.random.default_rng(1)
    hits = rng.choice(30, 50, p=np.arange(1, 31) / 465)  # fifty copies among 200 samples
    everyone = np.concatenate([hits, np.full(150, -1)])  # -1: no copy
    similarity = np.where(everyone >= 0, 1.0, 0.0)
    found = unique_copies_by_n(similarity, everyone, 0.5)
    assert list(found) == [f"unique_copies@samples={n}" for n in (25, 50, 100)]
    for n in (25, 50, 100):
        drawn = [rng.choice(everyone, n, replace=False) for _ in range(4000)]
        counts = np.array([len(np.unique(d[d >= 0])) for d in drawn])
        estimate = found[f"unique_copies@samples={n}"]
        assert abs(estimate.value - counts.mean()) < 4 * counts.std() / np.sqrt(4000)
        assert estimate.low < estimate.value < estimate.high and estimate.n == n


def test_at_all_samples_growth_is_the_count_and_at_one_the_copy_rate():
    hits = np.array([1, 1, 2, 3])
    whole = rarefied_unique(hits, 100, 100)
    report = copy_report(np.arange(100) < 4, np.concatenate([hits, np.zeros(96, int)]), np.zeros(50), 0.5)
    assert whole == report["unique_copies"] and whole.value == 3
    assert rarefied_unique(hits, 100, 1).value == pytest.approx(0.04)
    assert rarefied_unique(np.array([], int), 100, 50).low == rarefied_unique(np.array([], int), 100, 50).value == 0
    assert unique_copies_by_n(np.zeros(1), np.zeros(1, int), 0.5) == {}


def test_the_most_copied_share_is_of_all_samples():
    found = max_copy_share(np.array([3, 3, 3, 7]), 10, images=1)
    assert found == clopper_pearson(3, 10)
    nothing = max_copy_share(np.array([], int), 10, images=5)
    assert nothing.value == nothing.low == 0 and nothing.n == 10
    assert nothing.high > clopper_pearson(0, 10).high


@pytest.mark.parametrize("chance", [[0.05] * 20, [0.5] + [0.5 / 19] * 19, [0.92] + [0.01] * 8])
def test_the_interval_of_the_most_copied_share_covers_where_one_of_its_own_does_not(chance):
    rng, images = np.random.default_rng(0), len(chance)
    hits = [rng.choice(images, 60, p=chance) for _ in range(500)]
    found = [max_copy_share(one, 60, images) for one in hits]
    assert np.mean([e.low <= max(chance) <= e.high for e in found]) > 0.94
    if len(set(chance)) == 1:  # all alike: the largest count is far above its share
        naive = [clopper_pearson(np.unique(one, return_counts=True)[1].max(), 60) for one in hits]
        assert np.mean([e.low <= max(chance) for e in naive]) < 0.9


def test_the_growth_interval_covers_what_fewer_samples_would_have_hit():
    rng = np.random.default_rng(0)
    chance = np.array([0.9] + [0.1 / 60] * 60)
    fresh = np.mean([len(np.unique(rng.choice(61, 100, p=chance))) for _ in range(2000)])
    reports = [rarefied_unique(rng.choice(61, 400, p=chance), 400, 100) for _ in range(300)]
    assert np.mean([r.low <= fresh <= r.high for r in reports]) > 0.94


def test_bands_share_out_the_samples_by_similarity():
    similarity, index = np.array([0.05, 0.1, 0.19, 0.2, 0.5, 0.9, 0.9, 0.9]), np.array([9, 1, 1, 2, 3, 4, 4, 5])
    found = similarity_bands(similarity, index, [0.1, 0.2, 0.9])
    assert [found[f"ams_{band}"].value for band in ("low", "mid", "high")] == [2 / 8, 2 / 8, 3 / 8]
    assert [found[f"ums_{band}"].value for band in ("low", "mid", "high")] == [1 / 8, 2 / 8, 2 / 8]
    assert found["ams_high"] == clopper_pearson(3, 8)


def test_matches_are_dealt_out_in_order():
    first, none, last = Matches(np.arange(5), np.arange(5.0)).split(2, 0, 3)
    assert first.index.tolist() == [0, 1] and len(none.index) == 0 and last.similarity.tolist() == [2, 3, 4]


def test_people_are_counted_beside_images_and_the_null_goes_by_people():
    """Six copies of four images of two people; of 40 held-out images of 8 people those of one pass."""
    similarity = np.r_[np.ones(6), np.zeros(94)]
    nearest = np.r_[0, 0, 1, 1, 5, 6, np.arange(94)]
    whose, heldout = nearest // 5, np.repeat(np.arange(8), 5)
    null = (heldout == 3).astype(float)
    plain = copy_report(similarity, nearest, null, 1.0)
    found = copy_report(similarity, nearest, null, 1.0, CopyGroups(whose, heldout))
    assert found["unique_copies"] == plain["unique_copies"] and found["unique_copies"].value == 4
    assert found["copied_groups"] == rarefied_unique(np.r_[0, 0, 0, 0, 1, 1], 100, 100)
    assert found["copied_groups"].value == 2 and "copied_groups" not in plain
    assert found["copy_rate"] == plain["copy_rate"]
    by_people, by_image = found["copy_rate_null"], plain["copy_rate_null"]
    assert (
        by_people.value == by_image.value
        and by_people.groups == 8
        and by_people == proportion(null == 1, groups=heldout)
    )
    assert by_people.high > by_image.high and found["copy_rate_excess"].low < plain["copy_rate_excess"].low
    aimed = copy_report(similarity, nearest, null, 1.0, CopyGroups(whose, heldout, whose))
    assert aimed["copy_rate"] == proportion(similarity == 1, groups=whose)


def test_one_image_a_person_has_the_copies_of_no_groups():
    similarity, nearest = np.r_[np.ones(6), np.zeros(94)], np.arange(100) % 60
    null = np.r_[np.ones(3), np.zeros(70)]
    alone = CopyGroups(100 + nearest, np.random.default_rng(0).permutation(73))
    found, plain = (copy_report(similarity, nearest, null, 1.0, groups) for groups in (alone, None))
    for name, one in plain.items():
        assert (found[name].value, found[name].low, found[name].high) == (one.value, one.low, one.high), name
    assert found["copied_groups"] == plain["unique_copies"]

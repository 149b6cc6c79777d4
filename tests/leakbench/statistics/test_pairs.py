"""All pairs of attacks: each is DeLong's, together they are Holm's."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.statistics import all_pairs, delong_pair, holm


def attacks(rng, shifts, n=200):
    member, nonmember = rng.normal(size=(2, n))
    noise = rng.normal(size=(len(shifts), 2, n))
    return {
        name: (member + shift + noise[i, 0], nonmember + noise[i, 1]) for i, (name, shift) in enumerate(shifts.items())
    }


def test_every_pair_once_in_the_order_given():
    scores = attacks(np.random.default_rng(0), {"loss": 0.5, "pia": 1.5, "blind": 0.0})
    found = all_pairs(scores)
    assert [(one.first, one.second) for one in found] == [("loss", "pia"), ("loss", "blind"), ("pia", "blind")]
    for one in found:
        alone = delong_pair(*scores[one.first], *scores[one.second])
        assert (one.difference, one.p_value) == (alone.difference, alone.p_value)
    assert [one.adjusted for one in found] == holm([one.p_value for one in found])


def test_fewer_than_two_attacks_have_no_pairs():
    assert all_pairs({}) == []
    assert all_pairs({"pia": ([1, 2], [0, 1])}) == []


def test_level_is_passed_on():
    scores = attacks(np.random.default_rng(0), {"a": 0.5, "b": 1.0})
    wide, narrow = (all_pairs(scores, level)[0].difference for level in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_equal_attacks_are_rarely_told_apart_and_a_stronger_one_is():
    rng = np.random.default_rng(1)
    alike = [min(one.adjusted for one in all_pairs(attacks(rng, dict.fromkeys("abcd", 1.0)))) for _ in range(300)]
    assert np.mean(np.array(alike) <= 0.05) <= 0.08
    found = all_pairs(attacks(rng, {"a": 0.5, "b": 0.5, "strong": 1.5}))
    assert [one.adjusted < 0.05 for one in found] == [False, True, True]


def test_needs_the_same_images():
    with pytest.raises(ValueError, match="same images"):
        all_pairs({"a": ([1, 2, 3], [0, 1]), "b": ([1, 2], [0, 1])})

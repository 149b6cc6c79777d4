"""Choosing on calibration images keeps the reported AUC honest; choosing on the reported ones does not."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.statistics import auc, strongest


def test_largest_distance_from_one_half_wins():
    nonmember = np.arange(100.0)
    candidates = {"weak": (nonmember + 20, nonmember), "inverted": (nonmember - 60, nonmember)}
    assert strongest(candidates) == "inverted"


def test_equals_go_to_the_first_name_whatever_their_order_or_side():
    # AUC .7 and its mirror .3: |.3 - .5| and |.7 - .5| differ as floats.
    up = (np.array([1.0] * 7 + [-1.0] * 3), np.zeros(10))
    down = (-up[0], up[1])
    for first, second in ((up, down), (down, up)):
        assert strongest({"b": first, "a": second}) == "a"
        assert strongest({"a": first, "b": second}) == "a"


def test_needs_a_candidate():
    with pytest.raises(ValueError, match="no attack"):
        strongest({})


def test_maximum_of_useless_attacks():
    rng = np.random.default_rng(0)
    honest, flattered = [], []
    for _ in range(150):
        reported = {str(i): tuple(rng.normal(size=(2, 300))) for i in range(25)}
        calibration = {str(i): tuple(rng.normal(size=(2, 300))) for i in range(25)}
        honest.append(auc(*reported[strongest(calibration)]).value)
        flattered.append(max(auc(*pair).value for pair in reported.values()))
    assert np.mean(honest) == pytest.approx(0.5, abs=0.006)
    assert np.mean(flattered) == pytest.approx(0.545, abs=0.005)

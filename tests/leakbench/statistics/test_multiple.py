"""Holm's correction against its definition and by the rate of errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leakbench.statistics import holm


def rejected(p_values, alpha):
    """Holm's procedure as he wrote it: step down, and stop at the first that does not pass."""
    out = [False] * len(p_values)
    for step, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[place] > alpha / (len(p_values) - step):
            break
        out[place] = True
    return out


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.001, 0.999))
def test_adjusted_values_reject_what_the_procedure_rejects(p_values, alpha):
    adjusted = holm(p_values)
    close = [abs(value - alpha) < 1e-9 for value in adjusted]
    expected = rejected(p_values, alpha)
    assert all(near or (value <= alpha) == told for value, told, near in zip(adjusted, expected, close, strict=True))


def test_written_out():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_errs_anywhere_in_at_most_one_of_twenty():
    rng = np.random.default_rng(0)
    p = rng.random((20000, 10))
    p[:, :3] = 1e-6  # three that are there to be found
    wrong = [min(holm(row)[3:]) <= 0.05 for row in p[:4000]]
    assert np.mean(wrong) == pytest.approx(0.049, abs=0.012)


@pytest.mark.parametrize("bad", [[1.1], [-0.1, 0.5], [np.nan]])
def test_refuses_what_is_no_probability(bad):
    with pytest.raises(ValueError):
        holm(bad)

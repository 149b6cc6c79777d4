"""The most exposed members: in order, and with the rate at which accusing them would accuse others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leakbench.statistics import Exposed, exposed

values = st.lists(st.integers(-5, 5), min_size=1, max_size=30).map(lambda v: np.array(v, dtype=float))


@given(values, values, st.integers(1, 35))
def test_by_loop(member, nonmember, count):
    order = sorted(range(len(member)), key=lambda i: (-member[i], i))[:count]
    expected = [Exposed(i, member[i], sum(other >= member[i] for other in nonmember) / len(nonmember)) for i in order]
    assert exposed(member, nonmember, count) == expected


def test_written_out():
    found = exposed([0.2, 5.0, 0.9], [0.1, 0.9, 0.95, 0.3], 2)
    assert found == [Exposed(1, 5.0, 0.0), Exposed(2, 0.9, 0.5)]


@pytest.mark.parametrize(
    ("member", "nonmember", "count"), [([], [1.0], 1), ([1.0], [], 1), ([np.nan], [1.0], 1), ([1.0], [1.0], 0)]
)
def test_refuses_nonsense(member, nonmember, count):
    with pytest.raises(ValueError):
        exposed(member, nonmember, count)

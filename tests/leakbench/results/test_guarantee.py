"""The guarantee of a release: what it may state, and its JSON."""

import pytest
from pydantic import ValidationError

from leakbench.results.guarantee import Guarantee


def test_its_json_holds_what_is_stated_and_nothing_else():
    stated = Guarantee(epsilon=3, delta=0.1, unit="image", history=((1.0, 0.5, 7),), facts={"clip": 0.5})
    expected = {"epsilon": 3.0, "delta": 0.1, "unit": "image", "history": [[1.0, 0.5, 7]], "clip": 0.5}
    assert stated.to_json() == expected and Guarantee.from_json(expected) == stated and stated.is_stated
    assert Guarantee().to_json() == {} and not Guarantee().is_stated
    assert Guarantee(void="sold").to_json() == {"void": "sold"} and Guarantee(void="sold").is_stated


def test_nothing_spent_is_not_nothing_known():
    assert Guarantee(epsilon=0, history=()).to_json() == {"epsilon": 0.0, "history": []}
    assert "history" not in Guarantee(epsilon=0).to_json()


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon": -1.0},
        {"epsilon": float("nan")},
        {"delta": 1.0},
        {"adjacency": "swap"},
        {"unit": "pixel"},
        {"epsilon": 1.0, "void": "lost"},
        {"epsilom": 1.0},
    ],
)
def test_what_is_no_guarantee_is_refused(wrong):
    with pytest.raises(ValidationError):
        Guarantee(**wrong)

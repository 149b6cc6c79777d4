"""Prompts under test and null prompts, and what is said of their scores."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binomtest

from leakbench.api import MemorisationEvidence
from leakbench.measurement.memorisation import find_prompts
from leakbench.metrics.evaluate.memorisation import evaluate_memorisation

# rows: member 0-3, calibration_in 4, nonmember 5-9, calibration_out 10-12, reference 13-14
TEXTS = ["a", "b", "a", "c", "d", "x", "d", "b", "x", "y", "x", "z", "z", "w", "y"]
PARTS = {"member": range(4), "nonmember": range(5, 10), "calibration_out": range(10, 13), "reference": range(13, 15)}


def context(texts, labels):
    parts = {name: np.array(rows) for name, rows in PARTS.items()}
    split = SimpleNamespace(parts=parts, train=np.arange(5))
    inputs = SimpleNamespace(split=split, conditions=lambda condition: np.array(labels))
    return SimpleNamespace(inputs=inputs, condition="label", release=SimpleNamespace(captions=texts))


def test_a_prompt_is_asked_about_once_and_a_null_prompt_is_no_training_images():
    found = find_prompts(context(tuple(TEXTS), range(15)))
    assert found.tested.rows.tolist() == [0, 1, 3]
    assert found.null.rows.tolist() == [5, 9]  # d is of calibration_in, b of a member
    assert found.threshold.rows.tolist() == [11, 13]  # x and y are null prompts already


def test_of_classes_that_were_all_trained_on_none_is_null():
    found = find_prompts(context((), [0, 1, 2, 0, 1, *([0, 1] * 5)]))
    assert found.tested.numbers.tolist() == [0, 1, 2] and not len(found.null) and not len(found.threshold)


def evidence(tested, null, threshold):
    tested, null = np.array(tested, dtype=float), np.array(null, dtype=float)
    return MemorisationEvidence(
        *(tested, 10 + np.arange(len(tested)), null, np.arange(len(null)), np.array(threshold, dtype=float))
    )


def test_flagged_are_those_above_what_one_null_prompt_in_a_hundred_reaches():
    null = np.linspace(0, 1, 50)
    found = evaluate_memorisation(evidence([0.2, 1.5, 3.0, 1.0], null, np.linspace(0, 1, 40)))
    by_name = {metric.name: metric for metric in found.metrics}
    assert found.info["flagged"] == [12, 11] and not found.flags  # the highest first; 1.0 is reached by a null prompt
    pairs = np.array([0.2, 1.5, 3.0, 1.0])[:, None] - null
    assert by_name["prompt_auc"].value == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    for name, k, n in (("prompts_flagged", 2, 4), ("prompts_flagged_null", 0, 50)):
        exact = binomtest(k, n).proportion_ci(0.95, method="exact")
        one = by_name[name]
        assert (one.value, one.n) == (k / n, n) and (one.ci_low, one.ci_high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize("null, others", [((), (0.1, 0.2)), ((0.3, 0.4), ())])
def test_without_null_prompts_nothing_is_flagged(null, others):
    found = evaluate_memorisation(evidence([1, 2, 3], null, others))
    assert found.metrics == [] and found.flags == {"no-null-prompts"} and "flagged" not in found.info

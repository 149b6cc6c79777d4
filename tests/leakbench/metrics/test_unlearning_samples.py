"""What a release still knows of a label: against numbers worked out by hand."""

import numpy as np
import pytest
import torch

from leakbench.api import MembershipEvidence
from leakbench.metrics.evaluate import membership
from leakbench.metrics.evaluate.unlearning_samples import evaluate_unlearned_samples, mean_probability
from leakbench.metrics.quality import frechet


def test_the_probability_is_a_mean_with_its_standard_error():
    values = torch.tensor([0.0, 1.0, 1.0, 1.0])
    found = mean_probability(values)
    error = np.std([0, 1, 1, 1], ddof=1) / 2
    assert (found.value, found.n, found.high) == (0.75, 4, 1.0)
    assert found.low == pytest.approx(0.75 - 1.96 * error)


def test_its_interval_covers_the_truth():
    """1,000 draws of 500 values of mean 0.2: about 95 % of the intervals hold it."""
    rng = np.random.default_rng(0)
    found = [mean_probability(torch.from_numpy(rng.beta(0.2, 0.8, 500))) for _ in range(1000)]
    assert 0.93 <= np.mean([e.low <= 0.2 <= e.high for e in found]) <= 0.97


def test_each_metric_is_of_the_images_it_names():
    rng = torch.Generator().manual_seed(0)
    fake, real = (torch.rand(40, 3, generator=rng).softmax(dim=1) for _ in range(2))
    features, others = torch.randn(50, 2, generator=rng), torch.randn(60, 2, generator=rng)
    found = {m.name: m for m in evaluate_unlearned_samples(2, fake, real, features, others).metrics}
    assert found["forget_probability"].value == pytest.approx(float(fake[:, 2].mean()))
    assert found["forget_probability_real"].value == pytest.approx(float(real[:, 2].mean()))
    assert found["frechet_retained"].value == frechet(features, others).value


def test_the_forget_auc_compares_forgotten_members_with_their_like():
    evidence = MembershipEvidence(
        np.array([5.0, 0.0, 4.0, 1.0]), np.array([9.0, 3.0, 2.0, 4.5]), np.zeros(2), np.ones(2)
    )
    masks = {
        "member_forgotten": np.array([True, False, True, False]),
        "nonmember_alike": np.array([False, True, True, True]),
    }
    found = {m.name: m for m in membership.forget_set_auc(evidence, **masks, orientation=-1.0).metrics}
    assert found["forget_auc"].value == pytest.approx(5 / 6)  # of six pairs (5 or 4 against 3, 2, 4.5) five are won
    assert found["oriented_forget_auc"].value == pytest.approx(1 / 6)


def test_too_few_images_are_a_flag_and_no_number():
    evidence = MembershipEvidence(np.arange(4.0), np.arange(4.0), np.zeros(2), np.ones(2))
    masks = {"member_forgotten": np.eye(4, dtype=bool)[0], "nonmember_alike": np.ones(4, dtype=bool)}
    found = membership.forget_set_auc(evidence, **masks, orientation=1.0)
    assert found.metrics == [] and found.flags == {"forget-set-too-small"}

"""Fairness metrics: a planted attribute is read, coins are not, and a mark that no real image bears is found by the
reader that may learn from samples."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from leakbench.metrics import fairness
from leakbench.metrics.fairness import auc_of_own_samples, evaluate_fairness, logits, train_attribute_classifier
from leakbench.runtime.device import Rng

STREAM = Rng("test", 0).of("fairness")
ORDER = np.random.default_rng(0).permutation(1797)
IMAGES = torch.tensor(load_digits().images[ORDER] / 8 - 1, dtype=torch.float32)[:, None]
INK = IMAGES.mean(dim=(1, 2, 3)) - IMAGES.mean(dim=(1, 2, 3)).median()
IMAGES, INK = IMAGES[INK.abs() > 0.02], INK[INK.abs() > 0.02]  # which of the two is told in few steps
HEAVY = (INK > 0).long()
COINS = torch.from_numpy(np.random.default_rng(1).integers(0, 2, 400))
SAMPLES, HELDOUT, REFERENCE = slice(0, 400), slice(400, 800), slice(800, 1410)


@pytest.fixture(scope="module", autouse=True)
def short():
    """A fifth of the training: what is planted here is easily read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fairness, "_STEPS", 60)
        yield


@pytest.fixture(scope="module")
def reader():
    return train_attribute_classifier(IMAGES[REFERENCE], HEAVY[REFERENCE], STREAM)


@pytest.fixture(scope="module")
def measure(reader):
    """measure(samples, asked): the metrics by name."""

    def measured(samples: torch.Tensor, asked: torch.Tensor) -> dict:
        found = evaluate_fairness(samples, asked, reader, IMAGES[HELDOUT], HEAVY[HELDOUT], STREAM)
        assert not found.flags
        return {metric.name: metric for metric in found.metrics}

    return measured


@pytest.fixture(scope="module")
def honest(measure):
    """Samples that show what they were asked for."""
    return measure(IMAGES[SAMPLES], HEAVY[SAMPLES])


def test_samples_that_show_what_they_were_asked_for_are_read(honest):
    for name in ("attribute_auc", "attribute_auc_trained", "attribute_reader_auc"):
        assert honest[name].value > 0.95 and honest[name].ci_low > 0.9
    assert len(honest) == 5


def test_coins_cannot_be_read(measure):
    found = measure(IMAGES[SAMPLES], COINS)
    for name in ("attribute_auc", "attribute_auc_trained"):
        assert found[name].ci_low < 0.5 < found[name].ci_high and abs(found[name].value - 0.5) < 0.1
    assert found["attribute_reader_auc"].value > 0.95  # the reader is not blind


def test_the_opposite_shows_too(measure, honest):
    """No sign is flipped: the first reader is below one half, the second learns the sign."""
    found = measure(IMAGES[SAMPLES], 1 - HEAVY[SAMPLES])
    assert found["attribute_auc"].value == pytest.approx(1 - honest["attribute_auc"].value)
    assert found["attribute_auc_trained"].value > 0.95


def test_a_mark_that_no_real_image_bears_is_found_by_the_reader_of_samples(measure):
    marked = IMAGES[SAMPLES].clone()
    marked[:, 0, 0, ::2] += 0.6 * (2 * COINS[:, None] - 1)  # in a border row, so that the ink stays nearly the same
    marked[:, 0, 0, 1::2] -= 0.6 * (2 * COINS[:, None] - 1)
    found = measure(marked, COINS)
    assert found["attribute_auc_trained"].value > 0.95
    assert abs(found["attribute_auc"].value - 0.5) < 0.15


def test_the_numbers_are_sklearns_and_scipys(honest, reader):
    looks, real = (logits(reader, IMAGES[rows]).numpy() for rows in (SAMPLES, HELDOUT))
    assert honest["attribute_auc"].value == pytest.approx(roc_auc_score(HEAVY[SAMPLES], looks))
    assert honest["attribute_reader_auc"].value == pytest.approx(roc_auc_score(HEAVY[HELDOUT], real))
    ones = reader(IMAGES[SAMPLES]).softmax(dim=1)[:, 1] > 0.5
    for name, called, n in (
        ("attribute_balance", int(ones.sum()), 400),
        ("attribute_balance_real", int((real > 0).sum()), 400),
    ):
        exact = stats.binomtest(called, n).proportion_ci(method="exact")
        assert honest[name].value == called / n and honest[name].n == n
        assert (honest[name].ci_low, honest[name].ci_high) == pytest.approx((exact.low, exact.high))


def brightness(images: torch.Tensor, attribute: torch.Tensor, stream: object) -> Callable[..., torch.Tensor]:
    """A reader that knows but the sign of one number: cheap enough to be trained thousands of times."""
    means = [images[attribute == value].mean() for value in (0, 1)]
    return lambda x: torch.stack([torch.zeros(len(x)), x.mean(dim=(1, 2, 3)) * (means[1] - means[0])], dim=1)


def test_the_interval_of_the_reader_of_samples_covers(monkeypatch):
    """Where there is nothing to read."""
    monkeypatch.setattr(fairness, "train_attribute_classifier", brightness)
    generator = torch.Generator().manual_seed(0)
    asked = torch.arange(80) // 2 % 2
    found = [auc_of_own_samples(torch.randn(80, 1, 1, 1, generator=generator), asked, STREAM) for _ in range(1000)]
    covered = sum(one.low <= 0.5 <= one.high for one in found)
    assert stats.binomtest(covered, 1000, 0.95, alternative="less").pvalue > 1e-3
    assert abs(np.mean([one.value for one in found]) - 0.5) < 0.02  # no bias: the halves are balanced


def test_the_reader_of_samples_never_reads_what_it_was_trained_on(monkeypatch):
    seen: list[torch.Tensor] = []

    def remembers(images, attribute, stream):
        seen.append(images)
        known = {float(image[0, 0, 0]) for image in images}
        return lambda x: torch.tensor([[0.0, float(float(row[0, 0, 0]) in known)] for row in x])

    monkeypatch.setattr(fairness, "train_attribute_classifier", remembers)
    samples = torch.arange(100.0).view(-1, 1, 1, 1)
    asked = torch.tensor([0] * 70 + [1] * 30)[torch.from_numpy(np.random.default_rng(2).permutation(100))]
    found = auc_of_own_samples(samples, asked, STREAM)
    assert found.value == 0.5  # all scores are 0: nothing is known to the reader of the other half
    assert torch.cat(seen).flatten().sort().values.tolist() == samples.flatten().tolist()
    assert [int(asked[one.flatten().long()].sum()) for one in seen] == [15, 15]


def test_the_same_stream_gives_the_same_numbers(monkeypatch):
    monkeypatch.setattr(fairness, "_STEPS", 5)
    first, again, other = (
        train_attribute_classifier(IMAGES[:20], HEAVY[:20], Rng("test", seed).of("fairness"))(IMAGES[:5])
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_one_value_alone_leaves_the_aucs_out_and_says_so(reader):
    found = evaluate_fairness(IMAGES[:30], torch.ones(30).long(), reader, IMAGES[HELDOUT], HEAVY[HELDOUT], STREAM)
    assert found.flags == {"attribute-one-sided"}
    assert {m.name for m in found.metrics} == {
        "attribute_balance",
        "attribute_balance_real",
        "attribute_reader_auc",
    }


def test_an_attribute_of_more_than_two_values_is_refused():
    with pytest.raises(ValueError, match=r"0 \.\. 1"):
        train_attribute_classifier(IMAGES[:9], torch.arange(9) % 3, STREAM)

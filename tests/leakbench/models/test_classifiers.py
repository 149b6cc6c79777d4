"""The classifier learns digits; the blind reader finds planted shifts and nothing where there is nothing."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from leakbench.models.classifiers import SmallConvNet, blind_reader, train_classifier
from leakbench.runtime.device import Rng

STREAM = Rng("test", 0).of("classifier")


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.images))
    return torch.tensor(data.images[order] / 8 - 1, dtype=torch.float32)[:, None], torch.tensor(data.target[order])


def test_the_classifier_learns_digits(digits):
    images, labels = digits
    network = train_classifier(images[:800], labels[:800], 10, STREAM, steps=150)
    accuracy = (network(images[800:]).argmax(dim=1) == labels[800:]).float().mean().item()
    assert accuracy > 0.95
    assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_the_same_stream_gives_the_same_network(digits):
    images, labels = digits
    state = torch.random.get_rng_state()
    first, again = (train_classifier(images, labels, 10, STREAM, steps=3) for _ in range(2))
    other = train_classifier(images, labels, 10, Rng("test", 1).of("classifier"), steps=3)
    assert torch.equal(first(images), again(images)) and not torch.equal(first(images), other(images))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 64, 48)])
def test_shapes(shape):
    network, images = SmallConvNet(shape[0], 7), torch.zeros(2, *shape)
    assert network(images).shape == (2, 7) and network.features(images).shape == (2, 64)
    assert bool((network.features(images) >= 0).all())


def test_a_label_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"0 \.\. 9"):
        train_classifier(torch.zeros(2, 1, 8, 8), torch.tensor([0, 10]), 10, STREAM)


def held_out_auc(images: torch.Tensor, member: np.ndarray) -> float:
    half = len(images) // 2
    return float(roc_auc_score(member[half:], blind_reader(images[:half], member[:half]).score(images[half:])))


def brighter(images: torch.Tensor) -> torch.Tensor:
    return images + 0.1


def noisier(images: torch.Tensor) -> torch.Tensor:
    return images + 0.2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


def mirrored(images: torch.Tensor) -> torch.Tensor:
    return images.flip(-1)


@pytest.mark.parametrize("change", [brighter, noisier, mirrored])
def test_a_planted_shift_is_found(digits, change):
    images, member = digits[0].clone(), np.random.default_rng(1).random(len(digits[0])) < 0.5
    images[torch.from_numpy(member)] = change(images[torch.from_numpy(member)])
    assert held_out_auc(images.clamp(-1, 1), member) > 0.8


def test_nothing_is_found_on_a_random_split(digits):
    splits = [np.random.default_rng(seed).random(len(digits[0])) < 0.5 for seed in range(8)]
    values = [held_out_auc(digits[0], member) for member in splits]
    # One AUC of 450 against 450 has a standard error of 0.019; the bounds below are 4 of them, and 4 of the mean's.
    assert all(abs(value - 0.5) < 0.077 for value in values)
    assert abs(np.mean(values) - 0.5) < 0.027


def test_scores_do_not_depend_on_batch_or_container(digits):
    images, member = digits[0], digits[1] < 5
    reader = blind_reader(images, member)
    whole = reader.score(images)
    assert whole.dtype == np.float64 and whole.shape == (len(images),)
    np.testing.assert_array_equal(reader.score(images[[300]]), whole[[300]])
    np.testing.assert_array_equal(reader.score(images.numpy().astype(np.float64)[10:400]), whole[10:400])
    np.testing.assert_array_equal(blind_reader(images.numpy(), member.numpy()).score(images), whole)


def test_one_sided_membership_is_named():
    with pytest.raises(ValueError, match="one of the two is missing"):
        blind_reader(torch.zeros(4, 1, 8, 8), torch.ones(4, dtype=torch.bool))

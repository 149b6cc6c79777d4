"""Detectors of memorised prompts: on a pipeline that memorised two, by hand, and where the dimension is known."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from leakbench.api import AuditSetting, Release
from leakbench.attacks.memorisation.flipd import FLIPD
from leakbench.attacks.memorisation.prompt_noise import PromptNoise
from leakbench.attacks.memorisation.prompt_sharpness import PromptSharpness
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng
from leakbench.statistics import auc as auc_with_interval

STREAMS = Rng("prompts", 0)
CPU = torch.device("cpu")
SHAPE = (1, 4, 4)
ATTACKS = {"noise": PromptNoise(), "sharp": PromptSharpness(draws=2), "flipd": FLIPD()}


def scored(release, attack, images):
    scores, queries = AttackTarget.of(release, STREAMS).score({"": AttackRequest(attack, False)}, images)
    return scores[""], queries[""]


@pytest.fixture(scope="module")
def found(planted_release):
    """By attack: scores of the two planted captions, of null prompts, and of other null prompts; and queries."""
    release, parts = planted_release
    images = [parts["member"], parts["nonmember"], Images.concatenate([parts["calibration_out"], parts["reference"]])]
    together = Images.concatenate(images)
    sides = np.cumsum([len(one.ids) for one in images])[:-1]
    made = {name: scored(release, attack, together) for name, attack in ATTACKS.items()}
    return {name: (*np.split(scores, sides), queries) for name, (scores, queries) in made.items()}


@pytest.mark.parametrize("attack", ATTACKS)
def test_planted_captions_are_found_and_null_prompts_are_not(found, attack):
    planted, null, others, _ = found[attack]
    truth = [1] * len(planted) + [0] * len(null)
    assert roc_auc_score(truth, np.concatenate([planted, null])) > 0.95
    between = auc_with_interval(null, others, level=0.99)
    assert between.low < 0.5 < between.high


def test_what_the_prompt_takes_away_tells_more_than_the_dimension_alone(planted_release, found):
    """With a prompt and without, a simple image has few dimensions."""
    release, parts = planted_release
    asked = Images.concatenate([parts["member"], parts["nonmember"]])
    truth = [1] * 24 + [0] * 40
    alone = roc_auc_score(truth, scored(release, FLIPD(of="prompt"), asked)[0])
    assert alone < roc_auc_score(truth, np.concatenate(found["flipd"][:2]))


def test_calls_are_those_of_the_docstrings(found):
    assert {name: one[3] for name, one in found.items()} == {"noise": 8, "sharp": 8, "flipd": 104}


class Classes(torch.nn.Module):
    """Answers with x and a number for each class, and 0.5 without one."""

    def __init__(self, numbers) -> None:
        super().__init__()
        self.spec, self.knows_none = NetworkSpec(kind="mlp", shape=SHAPE, conditions=len(numbers)), True
        self.numbers = torch.tensor(numbers)

    def told(self, label):
        return torch.where(label < 0, 0.5, self.numbers[label]).view(-1, 1, 1, 1)

    def forward(self, x, t, label=None):
        return x + self.told(label)


class Stretched(Classes):
    """Answers with x times a number of the class, and half of x without one."""

    def forward(self, x, t, label=None):
        return x * self.told(label)


def of_classes(network, attack, count=12, schedule=None):
    release = Release(network, schedule or Schedule(), STREAMS, SHAPE, CPU, batch=16)
    ids = torch.arange(count)
    images = Images(torch.zeros(count, *SHAPE), ids, ids % network.spec.conditions)
    return *scored(release, attack, images), images


def test_size_of_the_conditional_noise_by_hand():
    numbers = [0.0, 0.2, -0.3]
    scores, calls, images = of_classes(Classes(numbers), PromptNoise(draws=2))
    wanted = 4 * np.abs(np.array(numbers) - 0.5)[images.labels]  # sixteen pixels of one number
    assert calls == 4 and np.allclose(scores, wanted, rtol=1e-5)


def test_sharpness_where_the_jacobian_is_known():
    """eps^D = k x: H^D s^D = k^2 x / sigma^2."""
    numbers = [0.0, 0.2, 0.9]
    scores, calls, images = of_classes(Stretched(numbers), PromptSharpness(draws=1))
    t = Schedule().timesteps()[0]
    x = STREAMS.of("attacking", "own", "prompt sharpness").normal(images.ids, SHAPE, 0)
    k = torch.tensor(numbers)[images.labels] - 0.5
    wanted = k.square() * x.flatten(1).norm(dim=1) / (1 - float(Schedule().alpha_bar[t]))
    assert calls == 4 and np.allclose(scores, wanted, rtol=1e-3)


class Subspaces(torch.nn.Module):
    """The exact network of Gaussians near subspaces: class c has variance 1 along `dimensions[c]` directions, and next
    to none along the others; without a class, variance 1 along all."""

    def __init__(self, dimensions: tuple[int, ...], width: float = 1e-3) -> None:
        super().__init__()
        size = SHAPE[1] * SHAPE[2]
        self.spec, self.knows_none = NetworkSpec(kind="mlp", shape=SHAPE, conditions=len(dimensions)), True
        self.turn = torch.linalg.qr(STREAMS.of("turn").normal(torch.arange(size), (size,))).Q
        rows = [torch.where(torch.arange(size) < k, 1.0, width**2) for k in (*dimensions, size)]
        self.variances = torch.stack(rows)  # -1: the last
        self.alpha_bar = torch.from_numpy(Schedule().alpha_bar).float()

    def forward(self, x, t, label=None):
        level = self.alpha_bar[t][:, None]
        along = x.flatten(1) @ self.turn
        along = (1 - level).sqrt() * along / (level * self.variances[label] + 1 - level)
        return (along @ self.turn.T).view_as(x)


@pytest.mark.parametrize("t", [10, 200])
def test_flipd_of_a_gaussian_near_a_subspace_is_its_dimension(t):
    """FLIPD = k (1 - sigma^2) + sigma^2 psi^2 ||x||^2, and a sample has ||x||^2 = k on average: k (1 - sigma^4)."""
    dimensions, each = (2, 6, 12), 60
    schedule = dataclasses.replace(Schedule(), bounded=False)
    attack = FLIPD(of="prompt", t=t, guidance=1.0, draws=1, probes=16, steps=100)
    scores, calls, images = of_classes(Subspaces(dimensions), attack, 3 * each, schedule)
    sigma = (1 - float(schedule.alpha_bar[t])) ** 0.5
    for label, k in enumerate(dimensions):
        mean = -scores[images.labels == label].mean()
        assert mean == pytest.approx(k * (1 - sigma**4), abs=0.15 * k)
    assert calls == 2 * 100 + 1 + 16


@pytest.mark.parametrize("attack", [PromptNoise, PromptSharpness, FLIPD])
def test_a_model_that_is_told_nothing_has_no_prompts(attack):
    found = attack().skip(AuditSetting((), "none", "nothing", 1000, 40))
    assert found.severity == "not-applicable" and "neither captions nor labels" in found.reason
    assert attack().skip(AuditSetting((), "label", "nothing", 1000, 40)) is None

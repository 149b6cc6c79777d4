"""Attacks that only ask for noise predictions, each against a loop over single images, written by hand in float64."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from leakbench.api import AuditSetting, Calibration, ImageSet, MembershipAttack, Release
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.noise_aggregation import NoiseAggregation
from leakbench.attacks.membership.pfami import PFAMI
from leakbench.attacks.membership.pia import PIA
from leakbench.attacks.membership.pian import PIAN
from leakbench.attacks.membership.secmi import SecMI
from leakbench.attacks.membership.sima import SimA
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng

SHAPE, N = (3, 6, 10), 7
STREAMS = Rng("loops", 0)
IDS = torch.tensor([4, 0, 11, 3, 250, 7, 90])
IMAGES = torch.tanh(STREAMS.of("images").normal(IDS, SHAPE)).double()
MIXING = STREAMS.of("mixing").normal(torch.arange(180), (180,)).double() / 10
ALPHA_BAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


class Network(torch.nn.Module):
    """Mixes all pixels; float64 where the images are."""

    calls = 0

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        self.calls += 1
        mixed = x.flatten(1) @ MIXING.to(x.dtype) + t.to(x.dtype)[:, None] / 500
        return (1.5 * torch.sin(mixed)).view_as(x)


def eps(x: np.ndarray, t: int) -> np.ndarray:
    """The network, of one image."""
    return 1.5 * np.sin(x.reshape(-1) @ MIXING.numpy() + t / 500).reshape(x.shape)


def scored(attack: MembershipAttack, batch: int = N, images: torch.Tensor = IMAGES, ids: torch.Tensor = IDS):
    """Scores, queries an image as counted, and calls of the network as made for a batch."""
    network = Network()
    release = Release(network, Schedule(), STREAMS, SHAPE, torch.device("cpu"), batch=batch)
    scores, queries = AttackTarget.of(release, STREAMS).score(
        {"": AttackRequest(attack, False)}, Images(images, ids, None)
    )
    return scores[""], queries[""], network.calls


def by_hand(one) -> np.ndarray:
    """one(x, number) of every image, alone."""
    return np.array([one(x.numpy(), int(number)) for x, number in zip(IMAGES, IDS, strict=True)])


def noise(number: int, draw: int = 0) -> np.ndarray:
    return STREAMS.of("attacking", "forward").normal(torch.tensor([number]), SHAPE, draw)[0].double().numpy()


def noised(x: np.ndarray, t: int, e: np.ndarray) -> np.ndarray:
    return math.sqrt(ALPHA_BAR[t]) * x + math.sqrt(1 - ALPHA_BAR[t]) * e


def loss(x: np.ndarray, t: int, e: np.ndarray) -> float:
    return float(((e - eps(noised(x, t, e), t)) ** 2).sum())


@pytest.mark.parametrize(("t", "draws"), [((40,), 1), ((10, 500, 90), 2)])
def test_loss_at_several_timesteps(t, draws):
    found, queries, calls = scored(Loss(t=t, draws=draws))

    def one(x, number):
        return -np.mean([loss(x, at, noise(number, draw)) for at in t for draw in range(draws)])

    np.testing.assert_allclose(found, by_hand(one), rtol=1e-9)
    assert queries == calls == len(t) * draws


def test_one_timestep_in_a_list_is_that_timestep():
    assert np.array_equal(scored(Loss(t=[100]))[0], scored(Loss())[0])
    assert Loss().t == 100 and Loss(t=[5, 7]).t == (5, 7)


@pytest.mark.parametrize(("t", "p"), [(200, 4), (30, 1.5)])
def test_pian(t, p):
    found, queries, calls = scored(PIAN(t=t, p=p))

    def one(x, number):
        e0 = eps(x, 0)
        e0 = e0 / np.abs(e0).mean() * math.sqrt(2 / math.pi)
        return -(np.abs(e0 - eps(noised(x, t, e0), t)) ** p).sum()

    np.testing.assert_allclose(found, by_hand(one), rtol=1e-9)
    assert queries == calls == 2


def test_pian_leaves_standard_noise_as_it_is():
    from leakbench.attacks.membership.pian import normalised

    drawn = STREAMS.of("noise").normal(torch.arange(3), (3, 64, 64))
    np.testing.assert_allclose(normalised(5 * drawn).std(dim=(1, 2, 3)), 1, atol=0.02)
    assert torch.equal(normalised(torch.zeros(2, 1, 4, 4)), torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize(("t", "p"), [(100, 4), (300, 1)])
def test_sima(t, p):
    found, queries, calls = scored(SimA(t=t, p=p))
    np.testing.assert_allclose(found, by_hand(lambda x, _: -(np.abs(eps(x, t)) ** p).sum()), rtol=1e-9)
    assert queries == calls == 1


def calibration_for(attack: MembershipAttack, member: np.ndarray) -> Calibration:
    release = Release(Network(), Schedule(), STREAMS, SHAPE, torch.device("cpu"), batch=4)
    images = Images(IMAGES, IDS, None)

    def ask(question):
        return AttackTarget.of(release, STREAMS).ask(question, attack, False, images)

    return Calibration(IMAGES, None, ask, member, ImageSet(IMAGES[:0], None, ask), STREAMS)


def test_sima_tunes_its_timestep_on_calibration_images_alone():
    member = np.array([True, False, True, False, True, False, True])
    attack = SimA(tune=True)
    fitted = attack.fit(calibration_for(attack, member))

    def strength(t):  # the share of member, nonmember pairs in which the member's answer is the smaller one
        size = [(np.abs(eps(x.numpy(), t)) ** 4).sum() for x in IMAGES]
        pairs = [(size[i], size[j]) for i in range(N) for j in range(N) if member[i] and not member[j]]
        return sum(a < b for a, b in pairs)

    assert fitted.t == max(range(10, 301, 10), key=strength) != 100
    assert np.array_equal(scored(fitted)[0], scored(SimA(t=fitted.t))[0])
    assert attack.learns and attack.out_of_fold and not SimA().learns and not SimA().out_of_fold
    assert SimA(t=70).fit(calibration_for(attack, member)).t == 70


def cropped(x: np.ndarray, h: int, w: int) -> np.ndarray:
    """The centre h x w of one image, resized back by hand: half-pixel centres, edges held."""
    channels, height, width = x.shape
    top, left = round((height - h) / 2), round((width - w) / 2)
    out = np.empty_like(x)
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
            z = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            y0, z0 = int(y), int(z)
            y1, z1 = min(y0 + 1, h - 1), min(z0 + 1, w - 1)
            for c in range(channels):
                above = x[c, top + y0, left + z0] * (z0 + 1 - z) + x[c, top + y0, left + z1] * (z - z0)
                below = x[c, top + y1, left + z0] * (z0 + 1 - z) + x[c, top + y1, left + z1] * (z - z0)
                out[c, i, j] = above * (y0 + 1 - y) + below * (y - y0)
    return out


@pytest.mark.parametrize(("form", "crops", "calls"), [("published", [5], 20), ("averaged", range(10), 50)])
def test_pfami(form, crops, calls):
    """The ten crops of a 6 x 10 image are of four sizes: 5 x 9 twice, 5 x 8 three times, 4 x 8, 4 x 7 four times."""
    strengths = np.linspace(0.95, 0.70, 10)
    found, queries, made = scored(PFAMI(form=form))

    def one(x, number):
        e, rises = noise(number), []
        for j in crops:
            crop = cropped(x, int(6 * strengths[j]), int(10 * strengths[j]))
            rises += [(loss(crop, t, e) - loss(x, t, e)) / loss(x, t, e) for t in range(0, 500, 50)]
        return np.mean(rises)

    np.testing.assert_allclose(found, by_hand(one), rtol=1e-6)
    assert queries == made == calls


@pytest.mark.parametrize(("t", "k", "m", "sigma"), [(80, 5, 10, 0.1), (150, 3, 25, 0.4), (40, 5, 10, 0.0)])
def test_noise_aggregation(t, k, m, sigma):
    found, queries, calls = scored(NoiseAggregation(t=t, k=k, m=m, sigma=sigma))

    def one(x, number):
        x, answers = math.sqrt(ALPHA_BAR[t]) * x + sigma * noise(number), []
        for s in range(t, t - k * m, -m):
            answers.append(eps(x, s))
            if s >= m:
                x0 = (x - math.sqrt(1 - ALPHA_BAR[s]) * answers[-1]) / math.sqrt(ALPHA_BAR[s])
                x = noised(x0, s - m, answers[-1])
        return -math.log(sum(((a - b) ** 2).sum() for a in answers for b in answers) / k**2 + 1e-12)

    np.testing.assert_allclose(found, by_hand(one), rtol=1e-7)  # sigma * noise is float32
    assert queries == calls == k


ALL = [Loss(t=(50, 100), draws=2), PIA(), PIAN(), SecMI(), SimA(), PFAMI(), PFAMI(form="averaged"), NoiseAggregation()]


@pytest.mark.parametrize("attack", ALL, ids=lambda attack: attack.name)
def test_batches_and_order_change_no_score(attack):
    whole, order = scored(attack)[0], torch.tensor([6, 2, 0, 5, 1, 4, 3])
    assert len(set(whole.tolist())) == N
    for batch in (1, 4, 16):
        np.testing.assert_allclose(scored(attack, batch)[0], whole, rtol=1e-7)
    turned = scored(attack, 4, IMAGES[order], IDS[order])[0]
    np.testing.assert_allclose(turned, whole[order.numpy()], rtol=1e-7)


@pytest.mark.parametrize(
    ("attack", "parameters", "words"),
    [
        (Loss, {"t": 1000}, "a timestep from 0 to 999, or a list"),
        (Loss, {"t": [50, -1]}, "a timestep from 0 to 999, or a list"),
        (Loss, {"t": []}, "a timestep from 0 to 999, or a list"),
        (Loss, {"t": "100"}, "a timestep from 0 to 999, or a list"),
        (Loss, {"t": True}, "a timestep from 0 to 999, or a list"),
        (Loss, {"draws": 0}, "greater than or equal to 1"),
        (PIA, {"p": 0.5}, "greater than or equal to 1"),
        (PIAN, {"p": 0.9}, "greater than or equal to 1"),
        (SimA, {"p": 0}, "greater than or equal to 1"),
        (PIA, {"t": 1000}, "less than 1000"),
        (SimA, {"t": -1}, "greater than or equal to 0"),
        (PFAMI, {"form": "best"}, "'published' or 'averaged'"),
        (NoiseAggregation, {"k": 1}, "greater than or equal to 2"),
        (NoiseAggregation, {"t": 30}, "at most 7: k = 5 steps start at t = 30"),
        (NoiseAggregation, {"m": 21}, "at most 20: k = 5 steps start at t = 80"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(attack, parameters, words):
    with pytest.raises(ValidationError) as refused:
        attack(**parameters)
    (error,) = refused.value.errors()
    assert words in error["msg"] and "\n" not in error["msg"]


@pytest.mark.parametrize("attack", [*ALL, SimA(tune=True)], ids=lambda attack: attack.name)
def test_a_timestep_outside_the_schedule_is_an_objection_before_any_training(attack):
    def place(timesteps):
        return AuditSetting((), "none", "nothing", timesteps, 100, calibration=20)

    assert attack.skip(place(1000)) is None
    found = attack.skip(place(80))
    assert found.severity == "cannot-work" and found.reason.endswith("the noise schedule ends at t = 79")

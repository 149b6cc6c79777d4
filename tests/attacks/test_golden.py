"""SecMI, PIA and PIAN against the scores of their authors' own code; SecMI, PIA and loss against loops written by hand.

The golden numbers: a closed-form denoiser on six closed-form images, scored by jinhaoduan/SecMI @41354c9
(mia_evals/secmia.py, t_sec = 100, k = 10) and kong13661/PIA @0d7e08a (DDPM/components.py, t = 200, p = 4). Theirs are
distances: smaller = more likely a member.
"""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from leakbench.api import MembershipAttack, Release
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.pia import PIA
from leakbench.attacks.membership.pian import PIAN
from leakbench.attacks.membership.secmi import SecMI
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import Schedule, add_noise
from leakbench.models.networks import NetworkSpec, build
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe, train
from leakbench.runtime.device import Rng

SECMI = [9.474586e-05, 9.710303e-05, 9.246526e-05, 8.930303e-05, 8.617132e-05, 9.126808e-05]
PIA_P4 = [40.30317, 40.46867, 40.11844, 36.43719, 32.11523, 40.11497]
PIAN_P4 = [34.51583, 37.55424, 31.48797, 32.75291, 30.42837, 31.51847]

IMAGES = torch.sin(0.37 * torch.arange(288, dtype=torch.float32) + 0.1).view(6, 3, 4, 4)
ALPHA_BAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
STREAMS = Rng("golden", 0)


def denoiser(x, t):
    """The closed form, for arrays and numbers alike."""
    return 0.8 * np.sin(2 * x + t / 150) + 0.3 * x * np.cos(t / 400)


class ClosedForm(torch.nn.Module):
    """The denoiser in float32, counting its calls."""

    calls = 0

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        self.calls += 1
        t = t.float().view(-1, 1, 1, 1)
        return 0.8 * torch.sin(2 * x + t / 150) + 0.3 * x * torch.cos(t / 400)


def scored(attack: MembershipAttack, batch: int = 6) -> tuple[np.ndarray, float, int]:
    """Scores, queries an image as counted, and calls of the network as made for a batch."""
    network = ClosedForm()
    release = Release(network, Schedule(), STREAMS, (3, 4, 4), torch.device("cpu"), batch=batch)
    images = Images(IMAGES, torch.arange(6), None)
    scores, queries = AttackTarget.of(release, STREAMS).score({"": AttackRequest(attack, False)}, images)
    return scores[""], queries[""], network.calls


def step(x, s, u):
    """One DDIM step of the closed form from s to u, float64."""
    eps = denoiser(x, s)
    x0 = (x - np.sqrt(1 - ALPHA_BAR[s]) * eps) / np.sqrt(ALPHA_BAR[s])
    return np.sqrt(ALPHA_BAR[u]) * x0 + np.sqrt(1 - ALPHA_BAR[u]) * eps


def test_secmi_gives_its_authors_scores_in_eleven_calls():
    scores, queries, calls = scored(SecMI(t=100, k=10))
    np.testing.assert_allclose(-scores, SECMI, rtol=1e-3)
    assert queries == calls == 11


def test_pia_gives_its_authors_scores_in_two_calls():
    scores, queries, calls = scored(PIA(t=200, p=4))
    np.testing.assert_allclose(-scores, PIA_P4, rtol=1e-4)
    assert queries == calls == 2


def test_pian_gives_its_authors_scores_in_two_calls():
    scores, queries, calls = scored(PIAN(t=200, p=4))
    np.testing.assert_allclose(-scores, PIAN_P4, rtol=1e-4)
    assert queries == calls == 2


@pytest.mark.parametrize(("t", "k"), [(100, 10), (60, 20), (50, 50)])
def test_secmi_is_the_plain_loop(t, k):
    scores, queries, _ = scored(SecMI(t=t, k=k))
    for i in range(6):
        x, s = IMAGES[i].double().numpy(), 0
        while s < t - k:
            x, s = step(x, s, s + k), s + k
        there_and_back = step(step(x, t - k, t), t, t - k)
        assert -scores[i] == pytest.approx(((there_and_back - x) ** 2).sum(), rel=1e-3)
    assert queries == t / k + 1


@pytest.mark.parametrize("parameters", [{"k": 30}, {"t": 105}, {"k": 200}])
def test_secmi_refuses_a_stride_that_misses_its_timestep(parameters):
    with pytest.raises(ValidationError, match="divisor of t"):
        SecMI(**parameters)


@pytest.mark.parametrize(("t", "p"), [(200, 4), (50, 2), (300, 1)])
def test_pia_is_the_plain_loop(t, p):
    scores, _, _ = scored(PIA(t=t, p=p))
    for i in range(6):
        x = IMAGES[i].double().numpy()
        e0 = denoiser(x, 0)
        x_t = np.sqrt(ALPHA_BAR[t]) * x + np.sqrt(1 - ALPHA_BAR[t]) * e0
        assert -scores[i] == pytest.approx((np.abs(e0 - denoiser(x_t, t)) ** p).sum(), rel=1e-4)


@pytest.mark.parametrize(("t", "draws"), [(100, 1), (10, 3)])
def test_loss_is_the_plain_loop(t, draws):
    scores, queries, calls = scored(Loss(t=t, draws=draws))
    for i in range(6):
        x, losses = IMAGES[i].double().numpy(), []
        for draw in range(draws):
            noise = STREAMS.of("attacking", "forward").normal(torch.tensor([i]), (3, 4, 4), draw)[0].double().numpy()
            x_t = np.sqrt(ALPHA_BAR[t]) * x + np.sqrt(1 - ALPHA_BAR[t]) * noise
            losses.append(((noise - denoiser(x_t, t)) ** 2).sum())
        assert -scores[i] == pytest.approx(np.mean(losses), rel=1e-4)
    assert queries == calls == draws


@pytest.mark.parametrize("attack", [SecMI(), PIA(), Loss()], ids=["secmi", "pia", "loss"])
def test_scores_do_not_depend_on_the_batch(attack):
    whole = scored(attack)[0]
    for batch in (1, 4, 16):
        np.testing.assert_allclose(scored(attack, batch)[0], whole, rtol=1e-3 if attack.name == "secmi" else 1e-5)


def test_higher_loss_scores_mean_members():
    """On a model over-fitted on 30 digits (SecMI and PIA may order the other way on small ones: never flipped)."""
    pixels = load_digits().images[np.random.default_rng(0).permutation(1797)[:60]]
    images = torch.tensor(pixels / 8 - 1, dtype=torch.float32)[:, None]
    network = build(NetworkSpec(kind="mlp", shape=(1, 8, 8), width=64, blocks=2), STREAMS.of("weights"))

    def loss(module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        x_t = add_noise(Schedule(), images[batch.index], batch.t, batch.noise)
        return (module(x_t, batch.t) - batch.noise).square().mean()

    ranges = {"count": 30, "timesteps": 1000, "noise_shape": (1, 8, 8)}
    train(network, loss, Recipe(1500, 64, 4e-3), stream=STREAMS.of("train"), **ranges)
    target = AttackTarget.of(Release(network, Schedule(), STREAMS, (1, 8, 8), torch.device("cpu")), STREAMS)
    scores = target.score({"": AttackRequest(Loss(), False)}, Images(images, torch.arange(60), None))[0][""]
    assert roc_auc_score([1] * 30 + [0] * 30, scores) >= 0.95


def test_attacks_at_the_same_timestep_share_a_call():
    network = ClosedForm()
    release = Release(network, Schedule(), STREAMS, (3, 4, 4), torch.device("cpu"), batch=6)
    attacks = {"loss": Loss(), "three": Loss(draws=3), "pia": PIA(), "secmi": SecMI()}
    asked = {name: AttackRequest(attack, name == "three") for name, attack in attacks.items()}
    together, queries = AttackTarget.of(release, STREAMS).score(asked, Images(IMAGES, torch.arange(6), None))
    assert queries == {"loss": 1, "three": 3, "pia": 2, "secmi": 11}
    assert network.calls == 1 + 2 + 2 + 10  # two draws are new to `three`; eps(x, 0) of PIA serves SecMI's first step
    for name, one in asked.items():
        assert np.array_equal(together[name], scored(one.attack)[0])

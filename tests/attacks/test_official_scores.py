"""Membership scores against their authors' own code: equal to rounding, and in the same order, on one tiny network.

The numbers below were made by that code, at the commit that stands beside them, with the network, images and noise that
are built here (torch.randn and its like answered with our noise). SecMI, PIA and PIAN: test_golden.py. No official code
is known for inpainting, noise_aggregation and quantile; blind and shipped_classifier are ours. RMIA's and LiRA's is for
classifiers, and given the denoising loss. Of attacks that train a classifier, what it learns from is compared. Where we
differ by choice, a test says how much is left.
"""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from leakbench.api import Calibration, ImageSet, MembershipAttack, Release
from leakbench.api.answer_cache import AnswerCache, QueriedRelease
from leakbench.api.views import WeightsView
from leakbench.attacks.membership.cdi import CDI
from leakbench.attacks.membership.cdi_gradients import CDIGradients
from leakbench.attacks.membership.gan_leaks import GANLeaks
from leakbench.attacks.membership.gsa1 import GSA1
from leakbench.attacks.membership.gsa2 import GSA2
from leakbench.attacks.membership.likelihood import Likelihood
from leakbench.attacks.membership.lira_offline import LiRAOffline
from leakbench.attacks.membership.lira_online import LiRAOnline
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.monte_carlo import MonteCarlo
from leakbench.attacks.membership.pfami import PFAMI
from leakbench.attacks.membership.rediffuse import ReDiffuse
from leakbench.attacks.membership.rediffuse_nn import ReDiffuseNN
from leakbench.attacks.membership.rmia import RMIA
from leakbench.attacks.membership.secmi import SecMI
from leakbench.attacks.membership.secmi_nn import SecMINN
from leakbench.attacks.membership.sima import SimA
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng

STREAMS, D, CPU = Rng("golden", 0), 48, torch.device("cpu")
IMAGES = Images(torch.sin(0.37 * torch.arange(6 * D) + 0.1).view(6, 3, 4, 4), torch.arange(6), None)


class Tiny(nn.Module):
    """One hidden layer with weights in closed form; `phase` makes others of them."""

    def __init__(self, phase: float = 0.0) -> None:
        super().__init__()
        k = torch.arange(8 * D, dtype=torch.float32)
        self.inner = nn.Parameter(0.3 * torch.sin(0.7 * k + phase).view(8, D), requires_grad=False)
        self.time = nn.Parameter(torch.cos(torch.arange(8.0)), requires_grad=False)
        self.outer = nn.Parameter(0.5 * torch.cos(0.3 * k * k**0.5 + phase).view(D, 8), requires_grad=False)

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        hidden = torch.tanh(x.flatten(1) @ self.inner.T + t[:, None] / 1000 * self.time)
        return (hidden @ self.outer.T).view_as(x) + 0.5 * x


class Pointwise(nn.Module):
    """A denoiser for images of any size."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        t = t.float().view(-1, 1, 1, 1)
        return 0.8 * torch.sin(2 * x + t / 150) + 0.3 * x * torch.cos(t / 400)


def release(network: nn.Module, images: Images = IMAGES, schedule: Schedule | None = None) -> Release:
    return Release(network.eval(), schedule or Schedule(), STREAMS, tuple(images.images.shape[1:]), CPU, batch=64)


def target(of: Release, samples: torch.Tensor = IMAGES.images, others: Mapping[str, AuxiliaryRelease] | None = None):
    return AttackTarget.of(of, STREAMS, lambda: samples, others)


def scores(attack: MembershipAttack, at: AttackTarget, images: Images = IMAGES) -> np.ndarray:
    return at.score({"": AttackRequest(attack, False)}, images)[0][""]


def fitted(attack: MembershipAttack, at: AttackTarget, calibration: Images, public: Images) -> MembershipAttack:
    def group(images: Images) -> ImageSet:
        return ImageSet(images.images, None, lambda question: at.ask(question, attack, False, images))

    return attack.fit(Calibration(calibration.images, None, group(calibration).ask, None, group(public), STREAMS))


def same_order(ours: np.ndarray, theirs: list[float]) -> None:
    assert spearmanr(ours, theirs).statistic == pytest.approx(1)


def agrees(ours: np.ndarray, theirs: list[float], rtol: float = 1e-4) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=rtol)
    same_order(ours, theirs)


def test_loss():
    """kong13661/PIA @0d7e08a, DDPM/components.py: NaiveAttacker, interval 100."""
    agrees(-scores(Loss(), target(release(Tiny()))), [62.0098, 68.4132, 37.5623, 55.1414, 76.3812, 42.1232])


def test_sima():
    """mx-ethan-rao/SimA @2a139bb, DDPM/components.py: SimA, interval 100."""
    agrees(-scores(SimA(), target(release(Tiny()))), [8.2716, 35.2012, 35.0458, 10.552, 41.3276, 29.8804])


PFAMI_RISES = {
    "published": [-0.0355895, -0.0120855, -0.00834123, -0.0108993, -0.00197677, -0.0084027],
    "averaged": [-0.033689, -0.00783009, -0.00810507, -0.00793122, -0.001696, -0.00715409],
}


@pytest.mark.parametrize("form", PFAMI_RISES)
def test_pfami(form):
    """wjfu99/MIA-Gen @f80df33, attack/attack_model_PFAMI.py: eval_perturb and feat_prepare (stat) without calibration,
    on 64 x 64 images; "averaged" is the mean of all its crops."""
    n, c, h, w = np.meshgrid(np.arange(6), np.arange(3), np.arange(64), np.arange(64), indexing="ij")
    levels = np.round(127.5 + 127.5 * np.sin(0.05 * (n + 1) * h + 0.09 * (c + 1) * w))
    images = Images(torch.tensor(levels / 127.5 - 1, dtype=torch.float32), IMAGES.ids, None)
    agrees(scores(PFAMI(form=form), target(release(Pointwise(), images)), images), PFAMI_RISES[form], rtol=1e-3)


REDIFFUSE = [2.08354, 1.97041, 2.08105, 1.90425, 2.57671, 1.94799]


def test_rediffuse():
    """lijingwei0502/diffusion_mia @26e6471, DDIM/components.py: ReDiffuseAttacker, interval 200, k 100, average 10. Its
    walk 200, 100, 0 ends in the state at t = 0, so the service here has that walk. The supervised form learns from the
    same difference in every pixel."""
    walk = Schedule(steps=10, last=100, final=1 - 1e-4, bounded=False)
    at = target(release(Tiny(), schedule=walk))
    agrees(-scores(ReDiffuse(), at), REDIFFUSE)
    maps = ReDiffuseNN()._maps
    agrees(at.ask(maps, ReDiffuseNN(), False, IMAGES).flatten(1).norm(dim=1).numpy(), REDIFFUSE)


def test_secmi_nn_learns_from_secmis_difference_in_every_pixel():
    """Its sum of squares is SecMI's score, which test_golden.py holds to the authors'."""
    at = target(release(Pointwise()))
    maps = at.ask(SecMINN()._maps, SecMINN(), False, IMAGES)
    agrees(-scores(SecMI(), at), maps.square().flatten(1).sum(dim=1).tolist())


def test_likelihood():
    """HailongHuPri/MIDM @a7e7be0, attacking_diffusion_models/likelihood.py: get_likelihood_fn of VPSDE(0.1, 20), with
    our probes. Its bits a dimension in nats; it starts at t = 1e-5 of 1, we at the schedule's first step."""
    bits = [12.5767, 14.1155, 14.6808, 10.973, 13.4508, 10.877]
    nats = [-(b - 7) * D * np.log(2) for b in bits]
    agrees(scores(Likelihood(steps=100), target(release(Tiny()))), nats, rtol=0.01)
    agrees(scores(Likelihood(), target(release(Tiny()))), nats, rtol=0.04)


GSA_NORMS = {
    GSA1: [
        [0.429590, 0.0338355, 0.283820],
        [0.514371, 0.0567414, 0.330225],
        [0.512758, 0.0535512, 0.286210],
        [0.535729, 0.0615666, 0.337704],
        [0.480167, 0.0548828, 0.281251],
        [0.513879, 0.0557623, 0.304694],
    ],
    GSA2: [
        [1.349054, 0.105629, 0.490448],
        [1.454819, 0.130024, 0.567583],
        [1.406024, 0.114904, 0.509647],
        [1.653873, 0.128295, 0.573937],
        [1.436850, 0.118362, 0.534274],
        [1.364154, 0.105185, 0.538977],
    ],
}


@pytest.mark.parametrize("kind", [GSA1, GSA2])
def test_gsa_reads_its_authors_features(kind):
    """py85252876/GSA @494ce8c, DDPM/gen_l2_gradients_DDPM.py: --attack_method 1 and 2, sampling_frequency 10."""
    source = QueriedRelease(release(Tiny()), torch.Tensor)
    found = kind().features(WeightsView(AnswerCache(source, STREAMS, IMAGES.images, IMAGES.ids, None), raw=True))
    for ours, theirs in zip(found.T.numpy(), zip(*GSA_NORMS[kind], strict=True), strict=True):
        agrees(ours, list(theirs))


CDI_FIRST = {  # SecMI's is the root; PIAN's, whose constant is the inverse there, is left out
    "denoising_loss": ([7.16219, 7.89845, 6.72421, 6.49026, 7.12688, 6.91088], 1),
    "secmi": ([0.00321809, 0.00571673, 0.0048872, 0.00311422, 0.00527325, 0.00412922], 2),
    "pia": ([0.476795, 1.17049, 0.987172, 0.679741, 1.18154, 0.936332], 5),
}
CDI_LOSSES = [
    [8.27879, 7.87463, 7.48392, 7.17371, 6.98028, 6.88027, 6.83436, 6.81657, 6.81548, 6.82651],
    [8.46528, 8.27123, 7.99518, 7.63982, 7.33856, 7.12454, 6.96440, 6.82998, 6.71025, 6.60073],
    [7.80359, 6.12881, 6.33672, 6.77414, 6.98860, 7.08396, 7.12200, 7.12410, 7.10100, 7.06160],
    [8.00799, 7.42573, 6.90509, 6.49671, 6.21839, 6.05020, 5.96572, 5.94512, 5.97142, 6.02919],
    [10.01878, 8.73963, 7.44475, 6.27829, 5.45674, 5.08521, 5.05463, 5.19481, 5.39855, 5.61786],
    [8.53001, 6.49024, 6.93145, 7.11696, 7.15187, 7.15908, 7.16549, 7.17134, 7.17401, 7.17259],
]
CDI_MASKED = [
    [2.13831, 2.45029, 2.09312, 2.12927, 2.18018, 2.03383, 2.11615, 2.38534, 2.45989, 2.53316],
    [2.48598, 2.88290, 2.88709, 2.87196, 2.85599, 2.51792, 2.64947, 2.74177, 2.83476, 2.89568],
    [2.43699, 3.03335, 2.75420, 3.35580, 2.90149, 2.84154, 3.35409, 3.29067, 3.54593, 3.54825],
    [2.26899, 2.31549, 2.27847, 2.31548, 2.37232, 2.58942, 2.67248, 2.66052, 2.80305, 2.79811],
    [3.39064, 2.47070, 2.41004, 2.36849, 3.17621, 2.98672, 2.93952, 3.31000, 2.60884, 2.58147],
    [3.02243, 2.39103, 4.04804, 3.03559, 3.00831, 3.41209, 3.44852, 3.48113, 3.51054, 3.53723],
]
CDI_OPTIMISED = [1.13716, 2.56598, 2.90266, 5.26818, 6.29423, 3.99597]
CDI_SHIFTS = [12.2552, 9.96891, 12.2044, 1.16886, 2.14467, 7.39222]


@pytest.mark.parametrize("kind", [CDI, CDIGradients])
def test_cdi_reads_its_authors_features(kind):
    """sprintml/copyrighted_data_identification @dcd6225, src/attacks/features_extraction, with the settings of
    conf/attack; noise_optim one image at a time, its minimum (not the loss after a second noising)."""
    attack = kind()
    found = target(release(Tiny())).ask(attack.features, attack, False, IMAGES).exp().numpy()
    for column, (theirs, power) in zip((0, 1, 2), CDI_FIRST.values(), strict=True):
        agrees(found[:, column] ** (1 / power), theirs)
    for ours, theirs in zip(found[:, 4:14].T, zip(*CDI_LOSSES, strict=True), strict=True):
        agrees(ours, list(theirs))
    if kind is CDIGradients:
        for ours, theirs in zip(found[:, 14:24].T, zip(*CDI_MASKED, strict=True), strict=True):
            agrees(ours, list(theirs))
        agrees(found[:, 24], CDI_OPTIMISED, rtol=1e-2)
        agrees(found[:, 25], CDI_SHIFTS, rtol=1e-2)
    assert found.shape == (6, 26 if kind is CDIGradients else 14)


def shadows(phases: list[float], inside: int) -> dict[str, AuxiliaryRelease]:
    """Networks of these phases; the first `inside` of them were trained on all images."""
    return {
        f"shadow-{k}": AuxiliaryRelease(
            QueriedRelease(release(Tiny(phase)), torch.Tensor), np.arange(6 if k < inside else 0)
        )
        for k, phase in enumerate(phases)
    }


def test_lira():
    """tensorflow/privacy @03035d5, research/mi_lira_2021/plot.py, on the denoising loss: generate_ours, and
    generate_ours_offline with fix_variance. Sixteen times the same four networks: so medians are means and biased
    variances nearly unbiased, which are choices. Theirs is a density offline, ours a tail: the same order where the
    loss is below its mean without the image."""
    at = target(release(Tiny()), others=shadows([p for p in (-0.05, 0.06, 0.1, 0.3) for _ in range(16)], 32))
    online, offline = (
        scores(fitted(kind(draws=1, shadows=64, variance=variance), at, IMAGES, IMAGES), at)
        for kind, variance in ((LiRAOnline, "per_image"), (LiRAOffline, "pooled"))
    )
    agrees(online, [2.774351, 1.860052, 3.660116, 3.353408, 4.12683, 1.896123], rtol=0.04)
    density = np.array([-3.60320647, -3.5763561, -3.57498113, -3.59888729, -3.58030464, -3.57506239])
    below = np.array([True, False, True, True, True, False])
    same_order(offline[below], -density[below])
    assert offline[~below].max() < -np.log(0.5) < offline[below].min()


def test_rmia():
    """privacytrustlab/ml_privacy_meter @e384af8, modules/mia/attacks/rmia.py: run_rmia, offline_a 0.3, on exp(-loss) of
    four reference models without the images. Ours adds less than one step of the share, to part ties."""
    public = Images(torch.cos(0.29 * torch.arange(10 * D) + 0.4).view(10, 3, 4, 4), torch.arange(100, 110), None)
    at = target(release(Tiny()), others=shadows([0.02, 0.04, 0.06, 0.08], 0))
    attack = fitted(RMIA(draws=1, shadows=4, mode="offline"), at, IMAGES, public)
    np.testing.assert_allclose(np.floor(10 * scores(attack, at)) / 10, [0.1, 0.0, 0.7, 0.2, 0.0, 0.5])


def wave(count: int, phase: float, shape: tuple[int, ...] = (3, 4, 4)) -> torch.Tensor:
    return torch.sin(0.37 * torch.arange(count * np.prod(shape)).float() ** 1.1 + phase).view(count, *shape)


def test_gan_leaks():
    """DingfanChen/GAN-Leaks @1cf1e20, attack_models/fbb.py: find_knn's first neighbour; tools/eval_roc.py: calibrated
    by one reference model."""
    images = Images(wave(10, 0.1), torch.arange(10), None)
    reference = AuxiliaryRelease(QueriedRelease(release(Tiny()), lambda: wave(40, 2.0)), np.arange(0))
    at = target(release(Tiny()), wave(40, 1.0), {"shadow-0": reference})
    plain = [4.24987, 2.44559, 4.26786, 1.94981, 1.73034, 3.96659, 2.23794, 2.91805, 2.13844, 2.8267]
    agrees(-scores(GANLeaks(), at, images), plain)
    relative = [-1.31321, -3.11285, 0.523406, -0.953878, -0.0402831, 1.69511, -0.295343, 0.922398, 1.52806, 1.23461]
    agrees(-scores(GANLeaks(calibrated=True, shadows=1), at, images), relative)


CROWDS = {
    "share": [0.025, 0.075, 0.05, 0.1, 0.05, 0.05, 0.1, 0.125, 0.125, 0.125, 0.125, 0.025],
    "distance": [
        *(0.0108269, 0.0140629, 0.0356105, 0.0333947, 0.00977269, 0.0275365),
        *(0.065017, 0.0552399, 0.106813, 0.0751479, 0.0733088, 0.0182536),
    ],
}


@pytest.mark.parametrize("form", CROWDS)
def test_monte_carlo(form):
    """SAP-samples/security-research-membership-inference-against-generative-networks @15627f7,
    Monte-Carlo-MNIST_GAN/mc_attack_gan.py: calculate_results_matrices at our radius."""
    images = Images(wave(12, 0.1, (1, 2, 2)), torch.arange(12), None)
    at = target(release(Pointwise(), images), wave(40, 1.0, (1, 2, 2)))
    agrees(scores(fitted(MonteCarlo(form=form, percentile=10), at, images, images), at, images), CROWDS[form])

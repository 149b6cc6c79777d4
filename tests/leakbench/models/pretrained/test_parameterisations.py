"""Every parameterisation: one Gaussian model told in all of them, and each beside diffusers' own steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import (
    CMStochasticIterativeScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    ScoreSdeVeScheduler,
    UNet2DModel,
)

from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.pia import PIA
from leakbench.attacks.membership.secmi import SecMI
from leakbench.attacks.membership.sima import SimA
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import Schedule, alpha_sigma, denoise, full_timesteps
from leakbench.models.networks import NetworkSpec
from leakbench.models.pretrained.denoiser import Denoiser
from leakbench.models.pretrained.prediction import describe_levels, read_prediction
from leakbench.models.pretrained.release import PretrainedRelease
from leakbench.runtime.device import Rng

# diffusers' own use of numpy in its constructors, and that a scheduler will move to another module
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*deprecated.*:FutureWarning"),
]
SHAPE = (3, 8, 8)
SPEC = NetworkSpec(kind="mlp", shape=SHAPE)
STREAMS = Rng("parameterisations", 0)
IMAGES = STREAMS.of("images").normal(torch.arange(12), SHAPE).mul(0.4).clamp(-1, 1)
NOISE = STREAMS.of("noise").normal(torch.arange(12), SHAPE)
MEAN, STD = 0.1, 0.5  # of the analytic model's data


def gaussian_x0(x, sigma):
    """E[x_0 | x = x_0 + sigma noise] of data N(MEAN, STD^2), in closed form."""
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


def rows(values):
    return values.view(-1, 1, 1, 1)


def table_network(target):
    def network(x, t, **_):
        scale, spread = alpha_sigma(Schedule(), t, x)
        x0 = gaussian_x0(x / scale, spread / scale)
        eps = (x - scale * x0) / spread
        return {"epsilon": eps, "sample": x0, "v_prediction": scale * eps - spread * x0}[target]

    return network


def edm_network(sign):
    """f of D = c_skip x + sign c_out f, told c_in x and log(sigma) / 4."""

    def network(x, time):
        sigma, s = rows((4 * time.double()).exp()), 0.5
        x_sigma = x.double() * (sigma**2 + s**2).sqrt()
        skip, out = s**2 / (sigma**2 + s**2), sign * sigma * s / (sigma**2 + s**2).sqrt()
        return ((gaussian_x0(x_sigma, sigma) - skip * x_sigma) / out).float()

    return network


def consistency_network(x, time):
    sigma, s, least = rows((time.double() / 250).exp()), 0.5, 0.002
    x_sigma = x.double() * (sigma**2 + s**2).sqrt()
    skip, out = s**2 / ((sigma - least) ** 2 + s**2), (sigma - least) * s / (sigma**2 + s**2).sqrt()
    return ((gaussian_x0(x_sigma, sigma) - skip * x_sigma) / out).float()


def score_network(x, sigma):
    """Score of images in [0, 1]: N((MEAN + 1) / 2, (STD / 2)^2 + sigma^2)."""
    sigma = rows(sigma.double())
    return (((MEAN + 1) / 2 - x.double()) / (STD**2 / 4 + sigma**2)).float()


def flow_network(x, time):
    """u = E[noise - x_0 | x_s]."""
    s = rows(time.double() / 1000)
    x0 = gaussian_x0(x.double() / (1 - s), s / (1 - s))
    return ((x.double() - (1 - s) * x0) / s - x0).float()


def config_of(scheduler, **more):
    said = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    return said | {"_class_name": type(scheduler).__name__} | more


def told_in_all_ways():
    for target in ("epsilon", "v_prediction", "sample"):
        yield target, {"_class_name": "DDPMScheduler", "prediction_type": target}, table_network(target)
    yield "EDM", config_of(EDMEulerScheduler()), edm_network(1)
    yield "EDM, v", config_of(EDMEulerScheduler(prediction_type="v_prediction")), edm_network(-1)
    yield "consistency", config_of(CMStochasticIterativeScheduler()), consistency_network
    yield "VE", config_of(ScoreSdeVeScheduler(sigma_min=0.001)), score_network
    yield "flow", config_of(FlowMatchEulerDiscreteScheduler(shift=3.0)), flow_network
    solver = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
    yield "flow, solver", config_of(DPMSolverMultistepScheduler(**solver)), flow_network


WAYS = {name: (config, network) for name, config, network in told_in_all_ways()}


class Body(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, time):
        return (self.function(x, time),)


def model(name):
    config, network = WAYS[name]
    return Denoiser(Body(network), SPEC, read_prediction(config, None, "here"))


@pytest.fixture(scope="module")
def scores():
    """Scores of the attacks on the Gaussian model, however it is told."""
    images = Images(IMAGES, torch.arange(len(IMAGES)), None)
    asked = {attack.name: AttackRequest(attack, False) for attack in (Loss(), PIA(), SecMI(), SimA())}
    found = {}
    for name in WAYS:
        network = model(name)
        release = PretrainedRelease(network, network.prediction.schedule, STREAMS, SHAPE, torch.device("cpu"), batch=8)
        found[name], _ = AttackTarget.of(release, STREAMS).score(asked, images)
    return found


@pytest.mark.parametrize("name", list(WAYS))
def test_scores_of_one_model_are_the_same_however_it_is_told(scores, name):
    for attack, expected in scores["epsilon"].items():
        assert np.abs(scores[name][attack] - expected).max() < 1e-4 * max(1.0, np.abs(expected).max()), attack


@pytest.mark.parametrize("name", list(WAYS))
def test_noise_is_that_of_the_closed_form(name):
    network = model(name)
    for t in (20, 100, 500, network.prediction.schedule.T - 1):
        scale, spread = alpha_sigma(network.prediction.schedule, full_timesteps(t, IMAGES), IMAGES)
        x = scale * IMAGES + spread * NOISE
        eps = (x - scale * gaussian_x0(x / scale, spread / scale)) / spread
        assert (network(x, full_timesteps(t, x)) - eps).abs().max() < 1e-4


def test_our_walk_is_eulers_along_the_flow():
    """diffusers' FlowMatchEuler, told to stop at the levels of our walk, with the shift of Stable Diffusion 3."""
    network = model("flow")
    schedule = replace(network.prediction.schedule, steps=20, bounded=False)
    ours = denoise(schedule, lambda x, t, _: network(x, t), NOISE)
    ratio = np.sqrt(1 / schedule.alpha_bar[schedule.timesteps()] - 1)
    theirs = FlowMatchEulerDiscreteScheduler()
    theirs.set_timesteps(sigmas=(ratio / (1 + ratio)).tolist())
    scale, spread = alpha_sigma(schedule, full_timesteps(schedule.timesteps()[0], NOISE), NOISE)
    x = NOISE / (scale + spread)
    for time in theirs.timesteps:
        x = theirs.step(flow_network(x, time.expand(len(x))), time, x).prev_sample
    assert (ours - x).abs().max() < 1e-4


def test_the_exact_flow_brings_noise_to_the_data():
    """A walk of 1,000 steps along u ends in the data's law: mean and spread to 1 %; along -u it does not."""
    network = model("flow")
    schedule = replace(network.prediction.schedule, steps=1000, bounded=False)
    noise = STREAMS.of("walk").normal(torch.arange(100), SHAPE)
    ends = denoise(schedule, lambda x, t, _: network(x, t), noise)
    assert abs(float(ends.mean()) - MEAN) < 0.01 and abs(float(ends.std()) - STD) < 0.01 * STD
    negated = Denoiser(Body(lambda x, time: -flow_network(x, time)), SPEC, network.prediction)
    wrong = denoise(schedule, lambda x, t, _: negated(x, t), noise)
    assert not abs(float(wrong.std()) - STD) < 0.1


def test_a_consistency_model_is_asked_as_diffusers_does():
    theirs = CMStochasticIterativeScheduler(clip_denoised=False)
    found = read_prediction(config_of(theirs), None, "here")
    seen = []

    def body(x, time):
        seen.append((x, time))
        return torch.tanh(x) + 1e-3 * rows(time)

    for t in (20, 300, found.schedule.T - 1):
        ratio = float(np.sqrt(1 / found.schedule.alpha_bar[t] - 1))
        sigma = torch.tensor(ratio, dtype=torch.float32)
        x_sigma = IMAGES + sigma * NOISE
        ours = found.eps(body, x_sigma / (1 + sigma**2).sqrt(), full_timesteps(t, IMAGES))
        skip, out = theirs.get_scalings_for_boundary_condition(sigma)
        answer = body(x_sigma / (sigma**2 + 0.25).sqrt(), torch.tensor(theirs.sigma_to_t(ratio)).float().expand(12))
        (our_input, our_time), (their_input, their_time) = seen[-2:]
        assert torch.allclose(our_input, their_input, atol=1e-5) and torch.allclose(our_time, their_time, atol=1e-3)
        assert (sigma * ours - (x_sigma - (out * answer + skip * x_sigma))).abs().max() < 1e-4 * max(1.0, ratio)


def test_a_fourier_unet_is_asked_as_its_pipeline_does():
    """ScoreSdeVePipeline calls unet(x_sigma, sigma) on images in [0, 1]; the score is its answer."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        unet = UNet2DModel(
            sample_size=8,
            block_out_channels=(8, 8),
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
            layers_per_block=1,
            norm_num_groups=4,
            time_embedding_type="fourier",
        ).eval()
    found = read_prediction(config_of(ScoreSdeVeScheduler()), None, "here")
    assert found.schedule.T == 1000
    for t in (100, 999):
        sigma = torch.tensor(np.sqrt(1 / found.schedule.alpha_bar[t] - 1) / 2, dtype=torch.float32)
        x = (IMAGES + 1) / 2 + sigma * NOISE
        with torch.no_grad():
            score = unet(x, sigma.expand(12)).sample
            ours = Denoiser(unet, SPEC, found)((2 * x - 1) / (1 + 4 * sigma**2).sqrt(), full_timesteps(t, x))
        assert (ours + sigma * score).abs().max() < 1e-4


def test_the_level_that_is_asked_for_is_told():
    def told(name):
        return describe_levels(read_prediction(WAYS[name][0], None, "here"))

    assert told("epsilon") == {}
    assert told("flow")["s_at_t"]["200"] == pytest.approx(0.420, abs=1e-3)  # alpha_bar is 0.6563 there
    assert told("EDM")["sigma_at_t"]["100"] == pytest.approx(0.342, abs=1e-3)
    assert told("VE")["sigma_at_t"]["100"] == pytest.approx(0.171, abs=1e-3)

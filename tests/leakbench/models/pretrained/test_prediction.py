"""What a network predicts, turned into noise: the same for all that it may predict, and as diffusers does it."""

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from torch import nn

from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.pia import PIA
from leakbench.attacks.membership.secmi import SecMI
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import Schedule, add_noise, denoise, full_timesteps
from leakbench.models.networks import NetworkSpec
from leakbench.models.pretrained.denoiser import Denoiser
from leakbench.models.pretrained.parameterisations.discrete import Discrete
from leakbench.models.pretrained.prediction import read_prediction
from leakbench.models.pretrained.release import PretrainedRelease
from leakbench.models.pretrained.schedulers import KNOWN, read_schedule
from leakbench.models.pretrained.schedulers import TARGETS as ALL
from leakbench.runtime.device import Rng
from leakbench.runtime.errors import UsageError

# diffusers' own use of numpy, in the constructors that the tests call
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
TARGETS = ALL[:3]  # of a network with a table
SHAPE = (3, 8, 8)
SPEC = NetworkSpec(kind="mlp", shape=SHAPE)
STREAMS = Rng("predictions", 0)
IMAGES = STREAMS.of("images").normal(torch.arange(12), SHAPE).mul(0.4).clamp(-1, 1)
NOISE = STREAMS.of("noise").normal(torch.arange(12), SHAPE)
SCHEDULES = {
    "linear": DDIMScheduler(),
    "scaled linear": DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    "cosine": DDIMScheduler(beta_schedule="squaredcos_cap_v2"),
    "trained": DDIMScheduler(trained_betas=np.linspace(2e-4, 0.03, 500), num_train_timesteps=500),
    "zero terminal": DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction"),
}


def toy(x, t):
    """A smooth function of x and t that stands for a network: about the noise of images near 0."""
    return torch.tanh(x) * 0.9 + 0.05 * torch.sin(t.float() / 100).view(-1, 1, 1, 1) * x.roll(1, -1)


class Answering(nn.Module):
    """toy's noise, told as `target`, by diffusers' alpha_bar."""

    def __init__(self, target, scheduler):
        super().__init__()
        self.target, self.alpha_bar = target, scheduler.alphas_cumprod.clamp_min(2.0**-24)

    def forward(self, x, t):
        a = self.alpha_bar[t].view(-1, 1, 1, 1)
        eps = toy(x, t)
        x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
        found = {"epsilon": eps, "sample": x0, "v_prediction": a.sqrt() * eps - (1 - a).sqrt() * x0}[self.target]
        return (found,)


def config_of(scheduler, **more):
    said = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    return said | {"_class_name": type(scheduler).__name__} | more


def network(target, scheduler):
    found = read_prediction(config_of(scheduler, prediction_type=target), None, "here")
    return Denoiser(Answering(target, scheduler), SPEC, found)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "zero terminal"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_noise_is_the_same_however_it_is_told(name, target):
    scheduler = SCHEDULES[name]
    model = network(target, scheduler)
    for t in (0, 1, 50, 250, model.prediction.schedule.T - 1):
        x = add_noise(model.prediction.schedule, IMAGES, full_timesteps(t, IMAGES), NOISE)
        assert (model(x, full_timesteps(t, x)) - toy(x, full_timesteps(t, x))).abs().max() < 1e-4


def test_scores_are_the_same_however_the_noise_is_told():
    images = Images(IMAGES, torch.arange(len(IMAGES)), None)
    asked = {attack.name: AttackRequest(attack, False) for attack in (Loss(), PIA(), SecMI())}
    scores = {}
    for target in TARGETS:
        model = network(target, SCHEDULES["linear"])
        release = PretrainedRelease(model, model.prediction.schedule, STREAMS, SHAPE, torch.device("cpu"), batch=8)
        scores[target], _ = AttackTarget.of(release, STREAMS).score(asked, images)
    for name in asked:
        one = scores["epsilon"][name]
        for target in TARGETS[1:]:
            assert np.abs(scores[target][name] - one).max() < 1e-4 * max(1.0, np.abs(one).max()), (name, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("spacing", "offset", "one"), [("leading", 0, True), ("leading", 1, False), ("trailing", 0, True)]
)
@pytest.mark.parametrize("name", ["linear", "scaled linear"])
def test_our_walk_is_diffusers(name, target, spacing, offset, one):
    settings = {"prediction_type": target, "timestep_spacing": spacing, "steps_offset": offset, "set_alpha_to_one": one}
    theirs = DDIMScheduler.from_config(config_of(SCHEDULES[name], **settings, clip_sample=False))
    theirs.set_timesteps(10)
    x, body = NOISE, Answering(target, theirs)
    for t in theirs.timesteps:
        x = theirs.step(body(x, t.expand(len(x)))[0], t, x, eta=0.0).prev_sample
    found = read_prediction(config_of(theirs), None, "here")
    schedule = replace(found.schedule, steps=10, bounded=False)
    assert schedule.timesteps() == theirs.timesteps.tolist()
    ours = denoise(schedule, lambda x, t, _: Denoiser(body, SPEC, found)(x, t), NOISE)
    assert (ours - x).abs().max() < 1e-4 * max(1.0, float(x.abs().max()))


def test_a_linear_schedule_is_our_own_and_every_table_can_be_hashed():
    assert read_prediction(config_of(SCHEDULES["linear"]), None, "").schedule == Schedule(spacing="leading")
    for name, scheduler in SCHEDULES.items():
        found = read_prediction(config_of(scheduler), None, name).schedule
        assert np.abs(found.alpha_bar - scheduler.alphas_cumprod.double().numpy()).max() < 1e-6
        assert hash(found) == hash(read_prediction(config_of(scheduler), None, name).schedule)


def test_pure_noise_at_the_end_leaves_finite_images():
    """With alpha_bar = 0 the v of an image x0 is -x0: the walk's first move has to bring it back."""
    schedule = read_prediction(config_of(SCHEDULES["zero terminal"]), None, "").schedule
    assert schedule.alpha_bar[-1] == 2.0**-24
    found = Discrete(schedule, "v_prediction")
    last = full_timesteps(schedule.T - 1, NOISE)
    eps = found.eps(lambda x, t: -IMAGES, NOISE, last)
    a = float(schedule.alpha_bar[-1])
    x0 = (NOISE - (1 - a) ** 0.5 * eps) / a**0.5
    assert (x0 - IMAGES).abs().max() < 5e-3 and bool(torch.isfinite(eps).all())


@pytest.mark.parametrize("target", TARGETS[:2])
def test_edm_is_diffusers_preconditioning(target):
    theirs = EDMEulerScheduler(prediction_type=target)
    found = read_prediction(config_of(theirs), None, "here")
    seen = []

    def body(x, time):
        seen.append((x, time))
        return torch.tanh(x) + time.view(-1, 1, 1, 1)

    levels = np.sqrt(1 / found.schedule.alpha_bar - 1)
    assert 900 < found.schedule.T < 950 and levels[-1] <= 80 < levels[-1] * 1.02
    for t in (0, 100, 500, found.schedule.T - 1):
        sigma = torch.tensor(levels[t], dtype=torch.float32)
        x_sigma = IMAGES + sigma * NOISE
        theirs.is_scale_input_called = True
        scaled = theirs.precondition_inputs(x_sigma, sigma)
        denoised = theirs.precondition_outputs(
            x_sigma, body(scaled, theirs.precondition_noise(sigma).expand(12)), sigma
        )
        ours = found.eps(body, x_sigma / (1 + sigma**2).sqrt(), full_timesteps(t, IMAGES))
        (their_input, their_time), (our_input, our_time) = seen[-2:]
        assert torch.allclose(our_input, their_input, atol=1e-5) and torch.allclose(our_time, their_time, atol=1e-5)
        assert (ours - (x_sigma - denoised) / sigma).abs().max() < 1e-4 + 1e-6 / float(sigma)
        assert (sigma * ours - (x_sigma - denoised)).abs().max() < 1e-5 * max(1.0, float(sigma))


@pytest.mark.parametrize("kind", [EulerDiscreteScheduler, HeunDiscreteScheduler])
@pytest.mark.parametrize("target", ["epsilon", "v_prediction"])
def test_a_sigma_of_euler_and_heun_is_that_of_the_table(kind, target):
    """One step of theirs down to sigma = 0 gives the x_0 that our eps implies."""
    theirs = kind(prediction_type=target, timestep_spacing="leading")
    theirs.set_timesteps(10)
    t = int(theirs.timesteps[5 if kind is EulerDiscreteScheduler else 9])
    sigma = float(((1 - theirs.alphas_cumprod[t]) / theirs.alphas_cumprod[t]) ** 0.5)
    x_sigma = IMAGES + sigma * NOISE
    scaled = theirs.scale_model_input(x_sigma, theirs.timesteps[5 if kind is EulerDiscreteScheduler else 9])
    x_t = add_noise(read_prediction(config_of(theirs), None, "").schedule, IMAGES, full_timesteps(t, IMAGES), NOISE)
    assert torch.allclose(scaled, x_t, atol=1e-4)
    body = Answering(target, theirs)
    assert torch.allclose(
        network_of(body, theirs)(x_t, full_timesteps(t, x_t)), toy(x_t, full_timesteps(t, x_t)), atol=1e-4
    )


def network_of(body, scheduler):
    return Denoiser(body, SPEC, read_prediction(config_of(scheduler), None, "here"))


@pytest.mark.filterwarnings("ignore:.*deprecated.*:FutureWarning")  # ScoreSdeVeScheduler will move
def test_every_known_scheduler_is_read():
    for name in KNOWN:
        if not hasattr(diffusers, name):  # one of a later version
            continue
        config = dict(getattr(diffusers, name)().config) | {"_class_name": name}
        found = read_prediction(config, None, "here").schedule
        assert found.T >= 900 and len(found.timesteps()) == found.steps
        assert found.T == read_schedule(config, None, "here").T
    assert read_prediction(config_of(DPMSolverMultistepScheduler()), "sample", "").target == "sample"


def test_a_learned_variance_is_cut():
    found = Discrete(Schedule())
    assert found.eps(lambda x, t: torch.cat([x, x + 1], 1), IMAGES, full_timesteps(5, IMAGES)).equal(IMAGES)


@pytest.mark.parametrize(
    ("config", "override", "words"),
    [
        ({"_class_name": "FlowMapEulerDiscreteScheduler"}, None, "known flow-matching schedulers are FlowMatchEuler"),
        ({"_class_name": "KarrasVeScheduler"}, None, "known VE schedulers are ScoreSdeVeScheduler"),
        ({"_class_name": "SCMScheduler"}, None, "known consistency schedulers are CMStochasticIterativeScheduler"),
        ({"_class_name": "IPNDMScheduler"}, None, "known are DDIMInverseScheduler"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": True}, None, "runs from image"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "epsilon", "predicts flow_prediction"),
        ({"_class_name": "DDIMScheduler"}, "flow_prediction", "predicts epsilon or v_prediction or sample"),
        ({"_class_name": "ScoreSdeVeScheduler"}, "epsilon", "says itself what its network predicts"),
        ({"_class_name": "DDPMScheduler", "prediction_type": "flow"}, None, "prediction_type = 'flow' is not known"),
        ({"_class_name": "DDPMScheduler", "beta_schedule": "odd"}, None, "scheduler DDPMScheduler: odd"),
        (
            {"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous"},
            None,
            "'continuous' is not known",
        ),
        ({"_class_name": "EDMEulerScheduler", "prediction_type": "sample"}, None, "'sample' is not known"),
        (None, None, "say prediction = epsilon or v_prediction or sample or flow_prediction"),
        (None, "noise", "it should be one of epsilon, v_prediction, sample, flow_prediction"),
    ],
)
def test_what_is_not_known_is_refused_in_one_line(config, override, words):
    with pytest.raises(UsageError) as caught:
        read_prediction(config, override, "models/mine")
    assert words in str(caught.value) and "models/mine" in str(caught.value) and "\n" not in str(caught.value)

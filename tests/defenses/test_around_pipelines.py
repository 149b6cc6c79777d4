"""Sampling-time defenses around a given pipeline: of images, of classes, and of latents with captions and guidance."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler

from leakbench.defenses import cpsample
from leakbench.defenses.amg import AMG
from leakbench.defenses.cpsample import CPSample, ProtectedRelease
from leakbench.defenses.overfit import Overfit
from leakbench.defenses.reject_resample import RejectResample
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.models import networks
from leakbench.models.diffusion import add_noise, full_timesteps, predict_x0
from leakbench.models.networks import NetworkSpec
from leakbench.models.training.gradients import Batch
from leakbench.runtime.device import RngStream
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

KINDS = ("images", "classes", "captions")
SIDE = {"images": 8, "classes": 8, "captions": 16}  # of the images; latents are 8x8
GUIDANCE = 4.0
SUITE = """
name = "around"
dataset = "npz:{data}"
[sampler]
steps = 3
batch = 3
{sampler}
[[defense]]
name = "pipeline"
path = "{model}"
{more}
[[defense]]
name = "cpsample"
base = "pipeline"
"""


@pytest.fixture(scope="module")
def models(pipelines, tmp_path_factory):
    """Folders of three pipelines of colour images, their data, and of the last its diffusers pipeline."""
    home = tmp_path_factory.mktemp("models")
    for kind, conditions in (("images", 0), ("classes", 3)):
        spec = NetworkSpec(kind="unet", shape=(3, SIDE[kind], SIDE[kind]), width=8, blocks=1, conditions=conditions)
        DDPMPipeline(networks.build(spec, RngStream((1, 2))).body, DDPMScheduler()).save_pretrained(home / kind)
    (home / "captions").mkdir()
    made = pipelines.untrained(home / "captions")
    (home / "captions.txt").write_text("a cat\nthe red house\na cat\n")
    split = np.repeat(["member", "nonmember", "calibration_in", "calibration_out", "reference"], 20)
    for side in {*SIDE.values()}:
        data = np.random.default_rng(0).integers(0, 256, (100, side, side, 3), dtype=np.uint8)
        (home / f"{side}").mkdir()
        np.savez(home / f"{side}" / "data.npz", images=data, split=split, labels=np.arange(100) % 3)
    return home, made


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """The classifier's accuracy is asked at one timestep."""
    monkeypatch.setattr(cpsample, "_PROBED", 1)


@pytest.fixture
def tasks(models, tmp_path):
    """tasks(kind, guidance, sampler): what a defense around the pipeline is given."""

    def make(kind, guidance=GUIDANCE, sampler=""):
        home = models[0]
        latent = kind == "captions"
        more = f'captions = "{home}/captions.txt"\nguidance = {guidance}' if latent else ""
        path = home / kind / "pipeline" if latent else home / kind
        file = tmp_path / f"{kind}{guidance}.toml"
        file.write_text(SUITE.format(data=home / f"{SIDE[kind]}" / "data.npz", model=path, more=more, sampler=sampler))
        made = ReleaseBuilder(RunInputs(load(str(file)), RunConfig(tmp_path, tmp_path / "cache")))
        return made.task(made.inputs.suite.points[1].chain, 0)

    return make


def released(defense, task):
    return defense.release(defense.fit(task), task)


class Linear(torch.nn.Module):
    """logit = offset + slope . x."""

    def __init__(self, slope, offset):
        super().__init__()
        self.slope, self.offset = slope, offset

    def forward(self, x, t, label=None):
        return self.offset + (x * self.slope).flatten(1).sum(1)


@pytest.mark.parametrize("kind", KINDS)
def test_switched_off_all_three_are_the_plain_pipeline_bit_for_bit(kind, tasks):
    task = tasks(kind)
    plain = task.base.sample(3)
    small = {"steps": 2, "batch": 4, "width": 8, "blocks": 1}
    for off in (CPSample(**small, alpha=0, scale=1000), AMG(scale=0), RejectResample(tries=1)):
        assert torch.equal(released(off, task).sample(3), plain), off.name
    pushed = released(CPSample(**small, alpha=0.5, scale=100), task).sample(3)
    assert pushed.shape == plain.shape and not torch.equal(pushed, plain)


@pytest.mark.parametrize("kind", KINDS)
def test_the_classifier_is_of_what_the_network_denoises(kind, tasks, monkeypatch):
    task, kept = tasks(kind), []
    monkeypatch.setattr(cpsample, "train", lambda module, loss, *_, **more: kept.append((module, loss, more)))
    made = CPSample(width=8, blocks=1).fit(task)
    module, loss, more = kept[0]
    shape = (4, 8, 8) if kind == "captions" else (3, 8, 8)
    spec = made.networks["classifier"].spec
    assert spec.shape == more["noise_shape"] == shape and spec.outputs == "logit" and spec.conditions == 0
    seen = []

    def watch(x, t):
        seen.append(x)
        return module(x, t)

    index = torch.tensor([3, 0, 31])
    loss(watch, Batch(index, torch.zeros(3, dtype=torch.int64), torch.zeros(3, *shape)))
    clean = seen[0] / float(task.schedule.alpha_bar[0]) ** 0.5
    assert torch.allclose(clean, task.images[index], atol=1e-5)


def test_it_is_trained_on_latents_as_diffusers_encodes_them(models, tasks):
    task = tasks("captions")
    stored = np.load(models[0] / "16" / "data.npz")["images"]
    pixels = (
        torch.from_numpy(stored[[0, 7, 40]]).permute(0, 3, 1, 2).float() / 127.5 - 1
    )  # 40: the 20th of calibration_in
    with torch.no_grad():
        expected = models[1].vae.encode(pixels).latent_dist.mean * 0.3
    assert torch.allclose(task.images[torch.tensor([0, 7, 20])], expected, atol=1e-5)
    assert task.heldout.shape[1:] == (4, 8, 8)


def test_its_gradient_joins_the_guided_noise_with_the_papers_sign(models, tasks):
    """Against diffusers' own network, guidance written out, and the gradient of a linear logit by hand."""
    task, pipe, scale, alpha = tasks("captions"), models[1], 30.0, 0.25
    slope = 0.2 * RngStream((5, 6)).normal(torch.arange(1), (4, 8, 8))
    x, t = RngStream((7, 8)).normal(torch.arange(6), (4, 8, 8)), torch.tensor([30, 300, 500, 700, 900, 999])
    logit = (x * slope).flatten(1).sum(1)
    release = ProtectedRelease.wrap(task.base, parts={"classifier": Linear(slope, 0.0)}, alpha=alpha, scale=scale)
    embeddings, empty = pipe.encode_prompt(["a cat"] * 6, "cpu", 1, True)
    with torch.no_grad():
        asked = pipe.unet(x, t, encoder_hidden_states=embeddings).sample
        nothing = pipe.unet(x, t, encoder_hidden_states=empty).sample
    guided = nothing + GUIDANCE * (asked - nothing)
    sigma = torch.from_numpy(1 - task.schedule.alpha_bar)[t].sqrt().float()
    # p = P(label 1); p < alpha: towards 1, grad log p = (1 - p) slope; p > 1 - alpha: grad log(1 - p) = -p slope
    p = logit.sigmoid()
    gradient = torch.where(p < alpha, 1 - p, torch.where(p > 1 - alpha, -p, 0.0))
    expected = guided - (scale * sigma * gradient).view(-1, 1, 1, 1) * slope
    found, gate = release.guided(x, t, torch.zeros(6, dtype=torch.int64))
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
    assert torch.equal(gate, gradient != 0) and 0 < int(gate.sum()) < 6

    before, after = ((predict_x0(task.schedule, x, t, eps) * slope).flatten(1).sum(1) for eps in (guided, found))
    assert bool(((after - before) * logit.sign() <= 0).all()), "the clean image moves towards the other label"


@pytest.mark.parametrize("kind", KINDS)
def test_the_walk_is_clipped_where_the_suite_says_so_and_never_among_latents(kind, tasks):
    plain, clipped = tasks(kind).base, tasks(kind, sampler="clip = true").base
    assert clipped.schedule == replace(plain.schedule, clip=kind != "captions")
    assert torch.equal(clipped.sample(3), plain.sample(3)) == (kind == "captions")


@pytest.mark.parametrize("kind", KINDS)
def test_a_given_network_is_fine_tuned_in_its_own_space(kind, tasks):
    """Its weights, its captions or classes, its latents; a look draws its samples."""
    task = tasks(kind, guidance=1.0)
    still, moved = (released(Overfit(steps=2, batch=4, lr=lr, samples=3), task) for lr in (1e-20, 1e-2))
    plain = task.base.sample(3)
    assert torch.allclose(still.sample(3), plain, atol=1e-5)
    assert not torch.allclose(moved.sample(3), plain, atol=1e-2) and moved.codec is task.base.codec
    assert moved.info["copied_share"]["step"] == [2]


@pytest.mark.parametrize("defense", [CPSample(steps=20, batch=8, width=8, blocks=1, alpha=0.5), AMG()])
def test_what_is_added_does_not_depend_on_the_guidance(defense, tasks):
    added = []
    for guidance in (1.0, GUIDANCE):
        task = tasks("captions", guidance)
        release = released(defense, task)
        x0 = task.images[:6]
        x = add_noise(task.schedule, x0, full_timesteps(200, x0), RngStream((1, 1)).normal(torch.arange(6), (4, 8, 8)))
        label = torch.tensor([0, 1, 2, 0, 1, 2])
        with torch.no_grad():
            added.append(
                release.eps(x, full_timesteps(200, x), label) - task.base.eps(x, full_timesteps(200, x), label)
            )
    assert added[0].abs().max() > 0 and torch.allclose(*added, atol=1e-5)


def test_amg_moves_latents_away_from_the_nearest_noised_member(tasks):
    task = tasks("captions")
    release = released(AMG(), task)
    members = release.parts["members"]
    assert torch.equal(members, task.images[:]) and members.shape == (40, 4, 8, 8)
    noised = add_noise(task.schedule, members, full_timesteps(200, members), release.crowd.noise.view_as(members))
    x = noised[:5] + 0.1 * RngStream((2, 2)).normal(torch.arange(5), (4, 8, 8))
    label = torch.zeros(5, dtype=torch.int64)
    with torch.no_grad():
        eps, gate = release.guided(x, full_timesteps(200, x), label)
        push = eps - task.base.eps(x, full_timesteps(200, x), label)
    nearest = (x[:, None] - noised).flatten(2).square().mean(2).argmin(1)
    assert nearest.tolist() == [0, 1, 2, 3, 4] and bool(gate.all())
    away = -(push * (x - noised[nearest])).flatten(1).sum(1)  # x_0 moves against eps
    assert bool((away > 0).all())


def test_reject_resample_compares_latents(tasks):
    task = tasks("captions")
    release = released(RejectResample(tries=3, null_rate=0.5), task)
    members, ids, label = task.images[:], torch.arange(6), torch.zeros(6, dtype=torch.int64)
    assert torch.equal(release.parts["members"], members)
    with torch.no_grad():
        drawn = torch.stack([task.base.generate(ids, label, attempt) for attempt in range(3)])  # (3, 6, 4, 8, 8)
        found = release.generate(ids, label)
    similarity = -(drawn[:, :, None] - members).flatten(3).square().mean(3).sqrt().amin(2)
    for i in range(6):
        fine = (similarity[:, i] < release.threshold).nonzero()[:, 0].tolist()
        assert torch.equal(found[i], drawn[fine[0] if fine else int(similarity[:, i].argmin()), i])


@pytest.mark.parametrize("kind", KINDS)
def test_a_defended_pipeline_is_asked_the_same_in_any_batch(kind, tasks):
    release = released(CPSample(steps=2, batch=4, width=8, blocks=1, alpha=0.5, scale=50), tasks(kind))
    many = release.sample(5)
    assert many.shape == (5, 3, SIDE[kind], SIDE[kind]) and many.abs().max() <= 1
    assert torch.equal(release.sample(2, first=3), many[3:5])
    assert len(release.facts()["gate_rate_by_t"]) == 3

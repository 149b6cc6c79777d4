"""A text-conditional latent model answers as diffusers' own pipeline does."""

from dataclasses import replace

import pytest
import torch

from leakbench.api import Release
from leakbench.defenses.pipeline import Pipeline
from leakbench.models.diffusion import denoise, full_timesteps
from leakbench.models.pretrained.build import build
from leakbench.models.pretrained.release import PretrainedRelease
from leakbench.runtime.cache.keys import digest_files
from leakbench.runtime.device import Rng
from leakbench.runtime.errors import UsageError

STREAMS = Rng("sd", 0)


def released(stable_diffusion, captions, guidance=1.0, **more):
    defense = Pipeline(path=str(stable_diffusion[1]), captions=str(captions), guidance=guidance, **more)
    model = build(defense.options, digest_files(defense.files()), torch.device("cpu"))
    schedule = replace(model.spec.schedule, steps=10)
    return PretrainedRelease(
        model.network,
        schedule,
        STREAMS,
        model.spec.network.shape,
        torch.device("cpu"),
        4,
        codec=model.codec,
        guidance=guidance,
    )


def test_what_is_known_before_the_weights(stable_diffusion, captions):
    brought = Pipeline(path=str(stable_diffusion[1]), captions=str(captions)).spec()
    assert brought.images == (3, 16, 16) and brought.network.shape == (4, 8, 8) and brought.network.conditions == 3
    assert brought.schedule.spacing == "leading" and brought.schedule.offset == 1 and not brought.schedule.bounded


def test_the_conditional_prediction_is_the_unets(stable_diffusion, captions):
    pipe, release = stable_diffusion[0], released(stable_diffusion, captions)
    x, t = STREAMS.of("x").normal(torch.arange(3), (4, 8, 8)), torch.tensor([5, 300, 999])
    embeddings, empty = pipe.encode_prompt(["a cat", "the red house", "a cat"], "cpu", 1, True)
    with torch.no_grad():
        expected = pipe.unet(x, t, encoder_hidden_states=embeddings).sample
        without = pipe.unet(x, t, encoder_hidden_states=empty).sample
    assert torch.allclose(release.raw_eps(x, t, torch.tensor([0, 1, 2])), expected, atol=1e-5)
    guided = released(stable_diffusion, captions, 7.5).eps(x, t, torch.tensor([0, 1, 2]))
    assert torch.allclose(guided, without + 7.5 * (expected - without), atol=1e-4)
    assert released(stable_diffusion, captions).eps_is_raw
    assert not released(stable_diffusion, captions, 7.5).eps_is_raw


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_sampling_is_the_pipelines_own(stable_diffusion, captions, guidance):
    """The same latents through diffusers' DDIM and through our walk, decoded to images."""
    from diffusers import DDIMScheduler

    pipe, release = stable_diffusion[0], released(stable_diffusion, captions, guidance)
    kept = pipe.scheduler
    pipe.scheduler = DDIMScheduler.from_config({**kept.config, "clip_sample": False, "_use_default_values": []})
    start = release.initial_noise(torch.arange(2))
    made = pipe(
        ["the red house", "a cat"],
        num_inference_steps=10,
        guidance_scale=guidance,
        latents=start.clone(),
        output_type="latent",
        eta=0.0,
    ).images
    pipe.scheduler = kept
    label = torch.tensor([1, 0])
    with torch.no_grad():
        ours = denoise(release.schedule, release.eps, start, label)
    assert made.abs().max() > 1 and (ours - made).abs().max() < 1e-4 * made.abs().max()
    images = pipe.vae.decode(made / 0.3).sample.clamp(-1, 1)
    assert (release.sample(2, label) - images).abs().max() < 5e-3  # latents 1e-5 apart, of networks that know nothing


def test_images_are_encoded_by_the_mean_of_the_posterior(stable_diffusion, captions, pictures):
    pipe, release = stable_diffusion[0], released(stable_diffusion, captions)
    with torch.no_grad():
        expected = pipe.vae.encode(pictures).latent_dist.mean * 0.3
        images = pipe.vae.decode(expected / 0.3).sample.clamp(-1, 1)
    x0 = release.encode(pictures)
    assert torch.allclose(x0, expected, atol=1e-5)
    assert torch.allclose(release.decode(x0), images, atol=1e-5)
    assert torch.equal(release.encode(pictures[3:4]), x0[3:4]), "alone as among others"


def test_variations_and_completions_speak_images(stable_diffusion, captions, pictures):
    release = released(stable_diffusion, captions)
    noise, label = STREAMS.of("n").normal(torch.arange(3), (4, 8, 8)), torch.tensor([0, 1, 2])
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[:, 7:] = True
    with torch.no_grad():
        varied = release.vary(pictures[:3], 0.5, noise, label)
        completed = release.inpaint(pictures[:3], mask, noise, noise, label)
    assert varied.shape == completed.shape == (3, 3, 16, 16)
    assert varied.abs().max() <= 1 and torch.equal(completed[..., :7], pictures[:3, ..., :7])
    assert not torch.equal(completed[..., 7:], pictures[:3, ..., 7:])


def test_gradients_reach_the_weights(stable_diffusion, captions):
    network = released(stable_diffusion, captions).network
    network.requires_grad_(True)
    x = torch.ones(2, 4, 8, 8)
    network(x, full_timesteps(3, x), torch.tensor([0, 1])).square().mean().backward()
    assert all(p.grad is not None for p in network.body.parameters())
    network.requires_grad_(False).zero_grad()


def test_equal_captions_are_one_embedding(stable_diffusion, captions):
    network = released(stable_diffusion, captions).network
    assert len(network.captions["states"]) == 3 and network.which.tolist() == [0, 1, 0]


def test_captions_in_a_csv(stable_diffusion, captions, tmp_path):
    table = tmp_path / "c.csv"
    table.write_text('file,caption\n1.png,a cat\n2.png,"the red house"\n')
    network = released(stable_diffusion, table).network
    assert torch.equal(network.captions["states"], released(stable_diffusion, captions).network.captions["states"])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (None, "", "captions are missing; give captions = 'FILE'"),
        ("none.txt", None, "cannot be read"),
        ("empty.txt", "", "empty; write one caption a line"),
        ("c.csv", "file,text\n1,cat\n", "no column `caption`; its columns are file, text"),
    ],
)
def test_bad_captions_are_one_line(stable_diffusion, tmp_path, name, text, words):
    file = "" if name is None else str(tmp_path / name)
    if name and text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as caught:
        Pipeline(path=str(stable_diffusion[1]), captions=file).spec()
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_release_hands_its_codec_on(stable_diffusion, captions, pictures):
    release = released(stable_diffusion, captions, 3.0)
    above = Release.wrap(release, info={"above": 1})
    assert torch.equal(above.encode(pictures[:2]), release.encode(pictures[:2]))
    plain = release.undefended()
    assert plain.codec is release.codec and type(plain) is Release

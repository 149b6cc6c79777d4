"""Every family answers as its own pipeline of diffusers does: one step of that, with and without guidance."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained.build import build
from leakbench.models.pretrained.parameterisations.flow import Flow
from leakbench.models.pretrained.prediction import nowhere
from leakbench.models.schedule import Schedule
from leakbench.runtime.cache.keys import digest_files

FAMILIES = (
    *("AuraFlow", "FLUX.1-dev", "FLUX.1-schnell", "LCM", "Lumina-2", "PixArt-Sigma", "PixArt-alpha"),
    *("PixArt-alpha of 1,024 pixels", "SD3", "SD3 without T5", "SDXL", "Sana"),
)
# diffusers' own use of numpy
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
CAPTIONS = ["a cat", "the red house", "a cat"]
GUIDED = {  # settings of one step with guidance 2, where the pipeline has it
    "FLUX.1-dev": {"true_cfg_scale": 2.0, "negative_prompt": ["", ""]},
    "FLUX.1-schnell": {"true_cfg_scale": 2.0, "negative_prompt": ["", ""]},
    "LCM": None,
    "Lumina-2": {"guidance_scale": 2.0, "cfg_normalization": False},
}
SETTINGS = {
    "Sana": {"use_resolution_binning": False, "complex_human_instruction": None},
    "PixArt-alpha": {"use_resolution_binning": False, "clean_caption": False},
    "PixArt-alpha of 1,024 pixels": {"use_resolution_binning": False, "clean_caption": False},
    "PixArt-Sigma": {"use_resolution_binning": False, "clean_caption": False},
    "LCM": {"guidance_scale": 8.5},
    "FLUX.1-dev": {"guidance_scale": 3.5},
    "FLUX.1-schnell": {"guidance_scale": 3.5},
}


@pytest.fixture(scope="module")
def folders(pipelines, whole_pipelines, tmp_path_factory):
    """made(name): a pipeline, and the folder and captions file that it is saved in."""
    home = tmp_path_factory.mktemp("families")
    words, made = pipelines.tokenizer(home / "words"), {}
    (home / "captions.txt").write_text("".join(f"{caption}\n" for caption in CAPTIONS))

    def get(name):
        if name not in made:
            made[name] = whole_pipelines.make(name, words)
            made[name].save_pretrained(home / name)
        return made[name], home / name, home / "captions.txt"

    return get


@pytest.fixture
def loaded(folders, cache):
    def load(name, **more):
        _, folder, captions = folders(name)
        defense = Pipeline(path=str(folder), captions=str(captions), **more)
        build.cache_clear()
        return build(defense.options, digest_files(defense.files()), torch.device("cpu"))

    return load


def step(pipeline, name, x, **more):
    """The level of the pipeline's one step, its input as attacks have it, and the noise that the step implies. A level
    is a timestep of the model's table, or alpha_bar (a float) of a flow."""
    flows = isinstance(pipeline.scheduler, FlowMatchEulerDiscreteScheduler)
    settings = {"guidance_scale": 1.0} | SETTINGS.get(name, {}) | ({"sigmas": [0.7]} if flows else {}) | more
    scale = pipeline.vae_scale_factor
    given = pipeline._pack_latents(x, *x.shape) if hasattr(pipeline, "_pack_latents") else x
    made = pipeline(
        prompt=["the red house", "a cat"],
        height=scale * x.shape[2],
        width=scale * x.shape[3],
        num_inference_steps=1,
        latents=given.clone(),
        output_type="latent",
        **settings,
    ).images
    if given is not x:
        made = pipeline._unpack_latents(made, scale * x.shape[2], scale * x.shape[3], scale)
    time = float(pipeline.scheduler.timesteps[0])
    if hasattr(pipeline.scheduler, "alphas_cumprod") and not pipeline.scheduler.config.get("use_flow_sigmas"):
        alpha_bar = float(pipeline.scheduler.alphas_cumprod[int(time)])
        return int(time), x, (x - alpha_bar**0.5 * made) / (1 - alpha_bar) ** 0.5
    s = time / 1000
    length = ((1 - s) ** 2 + s**2) ** 0.5
    return ((1 - s) / length) ** 2, x / length, x + (1 - s) * (x - made) / s


@pytest.mark.parametrize("name", FAMILIES)
def test_the_noise_is_that_of_one_step_of_its_pipeline(folders, loaded, name):
    pipeline, _, _ = folders(name)
    model = loaded(name, **({"size": 64} if name.endswith("pixels") else {}))
    x = torch.randn(2, *model.spec.network.shape, generator=torch.Generator().manual_seed(3))
    label = torch.tensor([1, 0])

    def ours(level, x, label):
        prediction, t = model.network.prediction, level
        if isinstance(level, float):
            model.network.prediction, t = replace(prediction, schedule=Schedule.given(np.array([level]))), 0
        with torch.no_grad():
            answer = model.network(x, torch.full((2,), t), label)
        model.network.prediction = prediction
        return answer

    level, state, expected = step(pipeline, name, x)
    conditional = ours(level, state, label)
    assert (conditional - expected).abs().max() < 1e-4
    assert conditional.std() > 0.01 and (conditional[0] - conditional[1]).abs().max() > 1e-3
    more = GUIDED.get(name, {"guidance_scale": 2.0})
    if more is not None:
        level, state, guided = step(pipeline, name, x, **more)
        without = ours(level, state, nowhere(label))
        assert (without + 2 * (conditional - without) - guided).abs().max() < 2e-4
        assert (without - conditional).abs().max() > 1e-5


@pytest.mark.parametrize("name", ["SD3", "Sana", "SDXL"])
def test_latents_are_the_pipelines_own(folders, loaded, name):
    """Scale and shift of the autoencoder, as the pipeline decodes."""
    pipeline, _, _ = folders(name)
    codec = loaded(name).codec
    latents = torch.randn(2, *loaded(name).spec.network.shape, generator=torch.Generator().manual_seed(5))
    coder = pipeline.vae
    kept = latents / coder.config.scaling_factor + (getattr(coder.config, "shift_factor", None) or 0.0)
    expected = coder.decode(kept).sample.clamp(-1, 1)
    assert torch.allclose(codec.decode(latents), expected, atol=1e-5)


def test_captions_are_encoded_once_and_then_read(folders, loaded, monkeypatch):
    first = loaded("SD3")
    monkeypatch.setattr("leakbench.models.pretrained.text_conditioning.tell_captions", None)  # not asked again
    second = loaded("SD3")
    for name, rows in first.network.captions.items():
        assert rows.equal(second.network.captions[name]) and len(rows) == 3  # two captions and none


def test_images_of_another_size(folders, loaded):
    model = loaded("FLUX.1-dev", size=24)
    assert model.spec.images == (3, 24, 24) and model.spec.network.shape == (4, 12, 12)
    assert loaded("FLUX.1-dev").spec.images == (3, 256, 256)  # 128 latents, and an autoencoder that halves once
    assert isinstance(model.network.prediction, Flow)


def test_every_family_is_tried(whole_pipelines):
    assert tuple(sorted(whole_pipelines.PIPELINES)) == FAMILIES

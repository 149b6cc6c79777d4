"""Every family answers as its own pipeline of diffusers does: one step of that, with and without guidance."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained.build import build
from leakbench.models.pretrained.parameterisations.flow import Flow
from leakbench.models.pretrained.prediction import nowhere
from leakbench.models.pretrained.text_conditioning import tell_captions
from leakbench.models.schedule import Schedule
from leakbench.runtime.cache.keys import digest_files

FAMILIES = (
    *("AuraFlow", "FLUX.1-dev", "FLUX.1-schnell", "FLUX.2-klein", "LCM", "Lumina-2", "PixArt-Sigma", "PixArt-alpha"),
    *("PixArt-alpha of 1,024 pixels", "Qwen-Image", "SD3", "SD3 without T5", "SDXL", "Sana", "Z-Image"),
)
# diffusers' own use of numpy
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
CAPTIONS = ["a cat", "the red house", "a cat"]


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


@pytest.mark.parametrize("name", FAMILIES)
def test_the_noise_is_that_of_one_step_of_its_pipeline(folders, loaded, one_step, name):
    pipeline, _, _ = folders(name)
    large = name in ("FLUX.2-klein", "Qwen-Image", "Z-Image") or name.endswith("pixels")
    model = loaded(name, **({"size": 64 if name.endswith("pixels") else 32} if large else {}))
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

    level, state, expected = one_step.step(pipeline, name, x)
    conditional = ours(level, state, label)
    assert (conditional - expected).abs().max() < 1e-4
    assert conditional.std() > 0.01 and (conditional[0] - conditional[1]).abs().max() > 1e-3
    more = one_step.GUIDED.get(name, {"guidance_scale": 2.0})
    if more is not None:
        level, state, guided = one_step.step(pipeline, name, x, **more)
        without = ours(level, state, nowhere(label))
        scale = 0 if "prompt" in more else 2
        assert (without + scale * (conditional - without) - guided).abs().max() < 2e-4
        assert (without - conditional).abs().max() > 1e-5


@pytest.mark.parametrize("name", ["FLUX.2-klein", "Qwen-Image"])
def test_latents_of_each_channels_scale_are_the_pipelines_own(folders, loaded, name):
    """Decoded by the pipeline: with its sampler left out, which is given the latents of the end."""
    pipeline, _, _ = folders(name)
    model = loaded(name, size=32)
    x = torch.randn(2, *model.spec.network.shape, generator=torch.Generator().manual_seed(5))
    codec, coder = model.codec, pipeline.vae
    if name == "Qwen-Image":
        mean, deviation = (
            torch.tensor(one).view(1, -1, 1, 1) for one in (coder.config.latents_mean, coder.config.latents_std)
        )
        expected = coder.decode((x * deviation + mean)[:, :, None]).sample[:, :, 0]
    else:
        norm = coder.bn
        deviation = (norm.running_var + coder.config.batch_norm_eps).sqrt().view(1, -1, 1, 1)
        expected = coder.decode(
            pipeline._unpatchify_latents(x * deviation + norm.running_mean.view(1, -1, 1, 1))
        ).sample
    assert codec.decode(x).shape == (2, *model.spec.images)
    assert torch.allclose(codec.decode(x), expected.clamp(-1, 1), atol=1e-5)
    images = torch.rand(2, *model.spec.images) * 2 - 1
    assert codec.encode(images).shape == x.shape


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


def test_equal_encoders_under_other_settings_are_asked_again(folders, loaded):
    """model_index.json says whether no caption is zeros or the empty caption's states."""
    _, folder, _ = folders("SDXL")
    index = folder / "model_index.json"
    before = index.read_text()
    try:
        rows = []
        for zeros in (True, False):
            index.write_text(json.dumps(json.loads(before) | {"force_zeros_for_empty_prompt": zeros}))
            rows.append(loaded("SDXL").network.captions["states"])
    finally:
        index.write_text(before)
    assert rows[0][:-1].equal(rows[1][:-1])
    assert not rows[0][-1].any() and rows[1][-1].any()


def test_images_of_another_size(folders, loaded):
    model = loaded("FLUX.1-dev", size=24)
    assert model.spec.images == (3, 24, 24) and model.spec.network.shape == (4, 12, 12)
    assert loaded("FLUX.1-dev").spec.images == (3, 256, 256)  # 128 latents, and an autoencoder that halves once
    assert isinstance(model.network.prediction, Flow)


def test_every_family_is_tried(whole_pipelines):
    assert tuple(sorted(whole_pipelines.PIPELINES)) == FAMILIES


@pytest.mark.parametrize("name", ["Qwen-Image", "Z-Image"])
def test_captions_of_other_lengths_beside_change_nothing(loaded, name):
    """Encoded later, or in another batch of captions, they are filled up with zeros that are no words."""
    model = loaded(name, size=32)
    x = torch.randn(2, *model.spec.network.shape, generator=torch.Generator().manual_seed(5))
    t, label = torch.tensor([100, 700]), torch.tensor([1, 0])
    before = model.network(x, t, label)
    longer = model.network.label_edited([1, 0], lambda caption: caption + " that is long, and much longer than all")
    assert torch.allclose(model.network(x, t, label), before, atol=1e-5)
    other = model.network(x, t, torch.tensor(longer))
    assert (other - before).abs().max() > 1e-4


def test_captions_of_many_batches_are_filled_up_to_one_length():
    class Counted:
        @staticmethod
        def tell(_pipeline, captions, _device):
            lengths = [len(caption) for caption in (*captions, "")]
            mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
            return {"mask": mask, "length": torch.tensor(lengths)}

    captions = tuple("x" * (1 + at % 50) for at in range(70))
    told = tell_captions(Counted(), None, captions, torch.device("cpu"))
    assert told["mask"].sum(1).tolist() == told["length"].tolist() == [*map(len, captions), 0]

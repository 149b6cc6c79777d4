"""Models conditioned on classes: a UNet2DModel, and DiT with its class of none."""

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    UNet2DModel,
)

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained.build import build
from leakbench.models.pretrained.prediction import nowhere
from leakbench.runtime.cache.keys import digest_files
from leakbench.runtime.errors import UsageError

LABELS, T = torch.tensor([0, 4, 2]), torch.tensor([0, 300, 999])


def built(path, **more):
    defense = Pipeline(path=str(path), **more)
    return build(defense.options, digest_files(defense.files()), torch.device("cpu"))


def test_a_unet_of_classes(tmp_path):
    body = UNet2DModel(
        sample_size=(8, 16),
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        num_class_embeds=5,
    ).eval()
    DDPMPipeline(body, DDPMScheduler()).save_pretrained(tmp_path)
    found = built(tmp_path)
    assert found.spec.network.conditions == 5 and found.spec.images == (3, 8, 16)
    x = torch.ones(3, 3, 8, 16)
    with torch.no_grad():
        assert torch.allclose(found.network(x, T, LABELS), body(x, T, class_labels=LABELS).sample, atol=1e-5)
    with pytest.raises(UsageError, match="the model knows no answer without condition; use 1"):
        Pipeline(path=str(tmp_path), guidance=2.0).spec()
    with pytest.raises(UsageError, match="the model takes none"):
        Pipeline(path=str(tmp_path), captions="c.txt").spec()


def test_dit_with_a_learned_variance_and_a_class_of_none(tmp_path):
    body = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=5,
        norm_num_groups=4,
    ).eval()
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    )
    DiTPipeline(body, vae, DDIMScheduler(), id2label={0: "cat"}).save_pretrained(tmp_path)
    found = built(tmp_path, guidance=3.0)
    assert found.spec.network.conditions == 5 and found.spec.images == (3, 16, 16)
    x = torch.ones(3, 4, 8, 8)
    with torch.no_grad():
        expected = body(x, timestep=T, class_labels=LABELS).sample[:, :4]
        none = body(x, timestep=T, class_labels=torch.full((3,), 5)).sample[:, :4]
    assert torch.allclose(found.network(x, T, LABELS), expected, atol=1e-5)
    assert torch.allclose(found.network(x, T, nowhere(T)), none, atol=1e-5)

"""Tiny pipelines that diffusers itself makes and saves."""

import numpy as np
import pytest
import torch

UNET = {
    "sample_size": 16,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
}


def unet(**more):
    """A small UNet of fixed random weights."""
    from diffusers import UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(3)
        return UNet2DModel(**(UNET | more)).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def ddpm(tmp_path_factory):
    """The folder of an unconditional DDPMPipeline of 1x16x16 images."""
    from diffusers import DDPMPipeline, DDPMScheduler

    folder = tmp_path_factory.mktemp("ddpm") / "mine"
    DDPMPipeline(unet(), DDPMScheduler()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def stable_diffusion(pipelines, tmp_path_factory):
    """A whole StableDiffusionPipeline: 16x16 images, 8x8 latents, captions of at most 16 tokens. (pipeline, folder)"""
    folder = tmp_path_factory.mktemp("sd")
    return pipelines.untrained(folder), folder / "pipeline"


@pytest.fixture(scope="session")
def captions(tmp_path_factory):
    """A file of three captions, two of them equal."""
    file = tmp_path_factory.mktemp("captions") / "captions.txt"
    file.write_text("a cat\nthe red house\na cat\n")
    return file


@pytest.fixture(scope="session")
def pictures():
    """Twelve images 3x16x16."""
    return torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (12, 3, 16, 16)).astype(np.float32))

"""Writes the raw network of a release as a diffusers pipeline folder, for tools that load one by from_pretrained.

The folder holds a DDIMPipeline: the UNet2DModel that the release's network is made of, weights as they are, and a
DDIMScheduler with the release's noise levels that predicts eps and walks without added noise, as ours does. A schedule
is told by its two ends where it is linear (which other tools understand), else by its betas.

Choices of ours. What diffusers' pipelines have no words for is refused, not bent: the MLP of small images; a UNet whose
image size its levels do not halve evenly (ours pads the image, theirs cannot); one with further inputs; a walk that
ends early.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from leakbench.models.networks import UNet
from leakbench.models.release import Release
from leakbench.runtime.errors import UsageError

if TYPE_CHECKING:
    from diffusers import DDIMPipeline, DDIMScheduler

    from leakbench.models.diffusion import Schedule


def objection(release: Release) -> str | None:
    network = release.network
    if not isinstance(network, UNet):
        return f"its network is a {type(network).__name__}, not the UNet2DModel that such a pipeline holds"
    _, height, width = network.spec.shape
    step = 2 ** (len(network.body.config.block_out_channels) - 1)
    if height % step or width % step:
        return (
            f"its UNet2DModel halves images of {height}x{width} to no whole number of pixels (multiples of {step} do)"
        )
    if network.spec.extra_channels:
        return f"its network has {network.spec.extra_channels} further input channels"
    if release.schedule.timesteps()[-1] > 0:
        return f"its walk ends at timestep {release.schedule.timesteps()[-1]}, and a pipeline's at 0"
    return None


def build_pipeline(release: Release) -> DDIMPipeline:
    """The diffusers pipeline of a release that `check_exportable` let pass."""
    from diffusers import DDIMPipeline

    assert isinstance(release.network, UNet)
    return DDIMPipeline(unet=release.network.body, scheduler=build_scheduler(release.schedule))


def build_scheduler(schedule: Schedule) -> DDIMScheduler:
    """diffusers' deterministic scheduler with the noise levels of ours."""
    import numpy as np
    from diffusers import DDIMScheduler

    before = np.concatenate([[1.0], schedule.alpha_bar[:-1]])
    betas = 1.0 - schedule.alpha_bar / before
    linear = np.linspace(betas[0], betas[-1], schedule.T)
    levels = (
        {"beta_start": float(betas[0]), "beta_end": float(betas[-1]), "beta_schedule": "linear"}
        if np.allclose(betas, linear, rtol=1e-6, atol=0)
        else {"trained_betas": betas.tolist()}
    )
    return DDIMScheduler(num_train_timesteps=schedule.T, clip_sample=schedule.clip, set_alpha_to_one=True, **levels)


def write(release: Release, folder: Path) -> None:
    """Write the pipeline folder; weights as safetensors. Raises UsageError where something lies there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists and is not an empty folder; name another")
    build_pipeline(release).save_pretrained(folder, safe_serialization=True)

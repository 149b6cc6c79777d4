"""Writes the raw network of a release as a diffusers pipeline folder, for tools that load one by from_pretrained.

The folder holds a DDIMPipeline: the UNet2DModel that the release's network is made of, weights as they are, and a
DDIMScheduler with the release's noise levels that predicts eps and walks without added noise, as ours does. A schedule
is told by its two ends where it is linear (which other tools understand), else by its betas.

Choices of ours. What diffusers' pipelines have no words for is refused, not bent: the MLP of small images; a UNet whose
image size its levels do not halve evenly (ours pads the image, theirs cannot); one with further inputs; a walk that
ends early. A defense around the sampler stays behind: `raw` says that this is meant.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from leakbench.api import Release
from leakbench.errors import UsageError
from leakbench.networks import UNet
from leakbench.suite import Point, Suite
from leakbench.workbench import Workbench

if TYPE_CHECKING:
    from diffusers import DDIMPipeline, DDIMScheduler

    from leakbench.diffusion import Schedule


def found(bench: Workbench, point: Point, seed: int, command: str) -> Release:
    """The release of a point whose training is in the cache. Raises UsageError where it is not: nothing is trained."""
    for length in range(1, len(point.chain) + 1):
        if bench.fits.open(bench.fit_key(point.chain[:length], seed)) is None:
            raise UsageError(
                f"{point.label}, seed {seed}: its weights are not in the cache {bench.setting.cache} for device "
                f"{bench.device.type} and this version of leakbench; train them again: {command}"
            )
    return bench.released(point.chain, seed)


def trained_here(suite: Suite, point: Point) -> Suite:
    """The suite without the points whose model was given, so that nothing reads their files or runs their code. Raises
    UsageError where `point` is one of them."""
    check_not_given(point)
    return replace(suite, points=tuple(one for one in suite.points if not one.chain[0].defense.given))


def check_not_given(point: Point) -> None:
    """Raise UsageError for a point whose model somebody handed in."""
    if point.chain and point.chain[0].defense.given:
        raise UsageError(
            f"{point.label}: its model was given ({point.chain[0].defense.called()}): it has its files already"
        )


def check_exportable(release: Release, point: Point, raw: bool) -> None:
    """Raise UsageError, in one line, where a pipeline folder cannot say what the release is."""
    check_not_given(point)
    guards = [link.id for link in point.chain if link.defense.changes == "sampling"]
    if guards and not raw:
        raise UsageError(
            f"{point.label}: only the raw network can be exported, without what {', '.join(guards)} does when it "
            "samples; say --raw if that is meant"
        )
    if objection := _objection(release):
        raise UsageError(f"{point.label}: cannot be a diffusers pipeline: {objection}")


def _objection(release: Release) -> str | None:
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
    if release.schedule.walk()[-1] > 0:
        return f"its walk ends at timestep {release.schedule.walk()[-1]}, and a pipeline's at 0"
    return None


def pipeline_of(release: Release) -> DDIMPipeline:
    """The diffusers pipeline of a release that `check_exportable` let pass."""
    from diffusers import DDIMPipeline

    assert isinstance(release.network, UNet)
    return DDIMPipeline(unet=release.network.body, scheduler=scheduler_of(release.schedule))


def scheduler_of(schedule: Schedule) -> DDIMScheduler:
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
    pipeline_of(release).save_pretrained(folder, safe_serialization=True)

"""Sampling beside diffusers' own pipeline: the same UNet, the same DDIM walk, the same batch.

    pytest benchmarks/speed/test_sampling.py -s

The pipeline is the one that `leakbench export` writes. It starts from its own noise, so that samples are compared by a
walk from ours. The floor is the calls of the network.
"""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch

from leakbench.api import Release
from leakbench.models.diffusers_export import build_pipeline
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec, build
from leakbench.runtime.device import Rng, place, prepare

STREAMS, SPEC = Rng("speed", 0), NetworkSpec(kind="unet", shape=(3, 32, 32), width=32, blocks=1)
NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
ON_CUDA = pytest.param("cuda", 50, 1.5, marks=[pytest.mark.gpu, NO_CUDA])
DEFAULT = 256  # rows of a full batch, unless the suite says otherwise


@pytest.mark.parametrize(("device", "steps", "at_least"), [("cpu", 5, 1), ON_CUDA])
@pytest.mark.parametrize("count", [32, 40])
def test_samples_at_the_default_batch_beside_diffusers_pipeline(race, device, steps, at_least, count):
    """Few samples are not padded to the default batch. On the CPU not slower."""
    where = torch.device(device)
    prepare(where)
    network = build(SPEC, STREAMS.of("weights")).eval().requires_grad_(False)
    release = Release(place(network, where), Schedule(steps=steps), STREAMS, SPEC.shape, where, batch=DEFAULT)
    with torch.random.fork_rng(devices=[]):
        pipeline = build_pipeline(release).to(where)
    pipeline.set_progress_bar_config(disable=True)
    noise = release.initial_noise(torch.arange(count, device=where))

    def theirs() -> torch.Tensor:
        with patch("diffusers.pipelines.ddim.pipeline_ddim.randn_tensor", lambda *_, **__: noise):
            drawn = pipeline(batch_size=count, num_inference_steps=steps, output_type="np").images
        return torch.from_numpy(drawn).permute(0, 3, 1, 2)

    @torch.no_grad()
    def floor() -> None:
        for t in release.schedule.timesteps():
            network(noise, torch.full((count,), t, device=where))

    found = race(
        f"{count} samples of 32x32 in {steps} steps at the default batch",
        lambda: release.sample(count),
        {"diffusers' DDIMPipeline": theirs},
        floor,
        f"{steps} calls of the network",
        at_least=at_least,
        device=device,
    )
    if device == "cpu":  # on CUDA ours walks in bf16
        ours = (found["ours"] / 2 + 0.5).clamp(0, 1)
        torch.testing.assert_close(ours, found["diffusers' DDIMPipeline"], rtol=0, atol=1e-3)

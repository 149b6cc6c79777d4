"""The same release on CPU and on CUDA: same seeds, same samples and scores within a stated tolerance."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from leakbench.api import Release
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.pia import PIA
from leakbench.attacks.membership.secmi import SecMI
from leakbench.data.image_batch import Images
from leakbench.defenses.cpsample import ProtectedRelease
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models import networks
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SPECS = {
    "mlp": NetworkSpec(kind="mlp", shape=(1, 8, 8), width=64, blocks=2),
    "unet": NetworkSpec(kind="unet", shape=(3, 16, 16), width=32, blocks=1),
}


def release_on(device: str, spec: NetworkSpec, protected: bool) -> Release:
    """One release of fixed random weights, on a device."""
    streams, where = Rng("gpu", 0), torch.device(device)
    network = networks.build(spec, streams.of("weights")).to(where).eval().requires_grad_(False)
    plain = Release(network, Schedule(steps=5), streams, spec.shape, where, batch=16)
    if not protected:
        return plain
    judge = networks.build(spec.model_copy(update={"outputs": "logit"}), streams.of("judge"))
    return ProtectedRelease.wrap(plain, parts={"classifier": judge.to(where).eval()}, alpha=0.5, scale=1.0)


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("protected", [False, True])
def test_scores_agree_between_devices(kind, protected):
    spec, scores = SPECS[kind], {}
    for device in ("cpu", "cuda"):
        release = release_on(device, spec, protected)
        ids = torch.arange(24, device=release.device)
        images = release.streams.of("images").normal(ids, spec.shape).clamp(-1, 1)
        target = AttackTarget.of(release, release.streams)
        asked = {attack.name: AttackRequest(attack, False) for attack in (Loss(), PIA(), SecMI())}
        scores[device] = target.score(asked, Images(images, ids, None))[0]
    for name in scores["cpu"]:
        torch.testing.assert_close(
            torch.from_numpy(scores["cuda"][name]), torch.from_numpy(scores["cpu"][name]), rtol=1e-2, atol=1e-4
        )


@pytest.mark.parametrize("kind", SPECS)
def test_samples_agree_between_devices(kind):
    """bf16 on CUDA: a sample differs from the CPU's float32 one by a few grey levels at most."""
    ours, theirs = (release_on(device, SPECS[kind], False).sample(20) for device in ("cpu", "cuda"))
    assert (ours - theirs).abs().mean() < 0.05


def test_sampling_twice_on_cuda_gives_the_same_bits():
    release = release_on("cuda", SPECS["unet"], True)
    again = dataclasses.replace(release, fired=[])
    assert torch.equal(release.sample(20), again.sample(20))

"""A model audited while it trains, in a loop as diffusers' example of unconditional training has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

import leakbench as lb

BLOCKS = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (16,)}


@pytest.fixture(scope="module")
def images():
    """Members and nonmembers, smooth, 8x8, in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((110, 1, 3, 3), generator=generator) * 2 - 1
    fine = torch.nn.functional.interpolate(coarse, size=8, mode="bilinear")
    return fine[:40], fine[40:]


def train(members, watch=None, steps=300):
    torch.manual_seed(0)
    unet = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4, **BLOCKS)
    scheduler, optimizer = DDPMScheduler(), torch.optim.AdamW(unet.parameters(), lr=4e-3)
    for step in range(1, steps + 1):
        clean = members[torch.randint(40, (16,))]
        noise, t = torch.randn_like(clean), torch.randint(1000, (16,))
        loss = torch.nn.functional.mse_loss(unet(scheduler.add_noise(clean, noise, t), t).sample, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if watch:
            watch(step, lambda unet=unet, scheduler=scheduler: DDPMPipeline(unet, scheduler))
    return unet.state_dict()


@pytest.fixture(scope="module")
def watched(images, tmp_path_factory):
    """The audit after its loop, and the weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAKBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("leakbench.runner.run_log.FORMATS", ("csv",))
        watch = lb.TrainingAudit(*images, every=150, out=tmp_path_factory.mktemp("runs"), attacks=["blind", "loss"])
        return watch, train(images[0], watch)


def test_the_loop_goes_on_as_if_nothing_had_been(watched, images):
    alone = train(images[0])
    assert all(torch.equal(alone[name], value) for name, value in watched[1].items())


def test_the_curve_has_a_row_for_each_audit_and_attack(watched):
    curve = watched[0].curve()
    assert curve[["step", "attack"]].values.tolist() == [[s, a] for a in ("blind", "loss") for s in (150, 300)]
    row = curve.set_index(["step", "attack"]).loc[(300, "loss")]
    found = lb.load(watched[0].results[300].path).metric("model", "loss", "oriented_auc")
    assert (row.auc, row.auc_low, row.auc_high) == (found.value, found.low, found.high)


def test_the_figure_shows_the_curve(watched):
    (ax,) = watched[0].plot().axes
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    wanted = watched[0].curve()
    assert np.array_equal(lines["loss"], wanted[wanted.attack == "loss"].auc)


def test_between_the_audits_nothing_is_made(images, tmp_path):
    watch = lb.TrainingAudit(*images, every=10, out=tmp_path / "runs")
    assert watch(9, lambda: pytest.fail("no pipeline is made")) is None
    with pytest.raises(lb.UsageError, match="no audit yet: the first is at step 10"):
        watch.curve()


def test_a_wrong_interval_is_one_line(images, tmp_path):
    with pytest.raises(lb.UsageError, match="every = 0: it must be a number from 1 up"):
        lb.TrainingAudit(*images, every=0, out=tmp_path)

"""Folders that training scripts leave are read at their newest step, by the moving average, and both is said."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained.build import build
from leakbench.runtime.cache.keys import digest_files
from leakbench.runtime.errors import UsageError

X, T = torch.linspace(-1, 1, 2 * 256).view(2, 1, 16, 16), torch.tensor([3, 700])


def loaded(path, **more):
    defense = Pipeline(path=str(path), **more)
    return build(defense.options, digest_files(defense.files()), torch.device("cpu"))


@pytest.fixture(scope="module")
def networks(ddpm):
    """Of steps 90 and 1000, and the moving average that diffusers keeps of them."""
    from diffusers import UNet2DModel
    from diffusers.training_utils import EMAModel

    early, late = (UNet2DModel.from_pretrained(ddpm / "unet") for _ in range(2))
    average = EMAModel(early.parameters(), model_cls=UNet2DModel, model_config=early.config)
    with torch.no_grad():
        for weight in late.parameters():
            weight += 0.1
    for network in (early, late):
        average.step(network.parameters())
    return early, late, average


@pytest.fixture
def run(networks, tmp_path):
    """The folder of a run that goes on: no model_index.json yet. Beside the networks lies what accelerate saves."""
    early, late, average = networks
    for step, network in ((90, early), (1000, late)):
        network.save_pretrained(tmp_path / f"run/checkpoint-{step}/unet")
        average.save_pretrained(tmp_path / f"run/checkpoint-{step}/unet_ema")
        (tmp_path / f"run/checkpoint-{step}/random_states_0.pkl").write_bytes(b"never read")
    (tmp_path / "run/logs").mkdir()
    return tmp_path / "run"


def answers(network):
    with torch.no_grad():
        return network(X, T).sample


def test_the_average_of_the_newest_checkpoint_is_audited_and_said(run, networks):
    from diffusers import UNet2DModel

    expected = answers(UNet2DModel.from_pretrained(run / "checkpoint-1000/unet_ema"))
    found = loaded(run, prediction="epsilon")
    assert torch.allclose(found.network(X, T), expected, atol=1e-6)
    assert not torch.allclose(answers(networks[1]), expected, atol=1e-3)
    said = found.facts["read"]
    assert "weights of checkpoint-1000/unet_ema, the moving average (EMA)" in said and "unet, is audited by" in said


def test_the_raw_weights_and_other_steps_are_audited_by_their_folders(run, networks):
    raw = loaded(run / "checkpoint-1000/unet", prediction="epsilon")
    assert torch.allclose(raw.network(X, T), answers(networks[1]), atol=1e-6)
    assert "no moving average" in raw.facts["read"]
    shutil.rmtree(run / "checkpoint-90/unet_ema")
    early = loaded(run / "checkpoint-90", prediction="epsilon")
    assert torch.allclose(early.network(X, T), answers(networks[0]), atol=1e-6)


def test_without_a_scheduler_the_prediction_has_to_be_said(run):
    with pytest.raises(UsageError, match="say prediction = epsilon"):
        loaded(run)
    (run / "checkpoint-1000/unet_ema/config.json").unlink()
    (run / "checkpoint-1000/unet/config.json").unlink()
    with pytest.raises(UsageError, match="checkpoint-1000: a checkpoint without a network") as caught:
        loaded(run, prediction="epsilon")
    assert "\n" not in str(caught.value)


def test_scheduler_and_other_parts_come_from_the_pipeline_above(stable_diffusion, captions, tmp_path):
    """A finished run with its checkpoints: the run folder is the pipeline, a checkpoint the network within it."""
    from diffusers import UNet2DConditionModel

    run = Path(shutil.copytree(stable_diffusion[1], tmp_path / "run"))
    body = UNet2DConditionModel.from_pretrained(run / "unet")
    with torch.no_grad():
        for weight in body.parameters():
            weight *= 0.9
    body.save_pretrained(run / "checkpoint-7/unet")
    table = run / "scheduler/scheduler_config.json"
    table.write_text(json.dumps(json.loads(table.read_text()) | {"prediction_type": "v_prediction"}))
    final, early = (loaded(path, captions=str(captions)) for path in (run, run / "checkpoint-7"))
    assert early.network.prediction.target == "v_prediction" and early.codec is not None
    assert torch.equal(final.network.captions["states"], early.network.captions["states"])
    for there, here in zip(body.parameters(), early.network.body.parameters(), strict=True):
        assert torch.equal(there, here)
    assert "read" not in final.facts and "model_index.json" in early.facts["read"]


def test_its_own_scheduler_is_read_where_no_pipeline_lies_above(run):
    from diffusers import DDIMScheduler

    DDIMScheduler(prediction_type="sample").save_pretrained(run / "checkpoint-1000/scheduler")
    assert loaded(run).network.prediction.target == "sample"


def test_a_plan_says_which_weights(run, ddpm, leakbench, tmp_path):
    for name in ("model_index.json", "scheduler", "unet"):
        path = ddpm / name
        shutil.copytree(path, run / name) if path.is_dir() else shutil.copy(path, run / name)
    for seed, side in enumerate(("members", "nonmembers")):
        (tmp_path / side).mkdir()
        for number, image in enumerate(np.random.default_rng(seed).integers(0, 256, (70, 16, 16), dtype=np.uint8)):
            Image.fromarray(image).save(tmp_path / side / f"{number}.png")
    sides = ("--members", tmp_path / "members", "--nonmembers", tmp_path / "nonmembers")
    found = leakbench("audit", run / "checkpoint-90", *sides, "--device", "cpu", "--attacks", "loss", "--plan")
    assert found.code == 0, found.err
    assert "checkpoint-90: weights of checkpoint-90/unet_ema, the moving average (EMA)" in found.out

"""A given pipeline as the bottom of a chain: audited as our own release of the same weights would be."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler

from leakbench.api import Release
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.pia import PIA
from leakbench.attacks.membership.rediffuse import ReDiffuse
from leakbench.attacks.membership.secmi import SecMI
from leakbench.data.image_batch import Images
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.compatibility import check_compatibility
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import fit_key
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.models import networks
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.runner.plan import Plan
from leakbench.runtime.device import RngStream
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

SPEC = NetworkSpec(kind="unet", shape=(1, 8, 8), width=8, blocks=1)
CPU = torch.device("cpu")
SUITE = """
name = "given"
dataset = "npz:{data}"
[sampler]
steps = 4
batch = 32
[quality]
samples = 20
features = "pixels"
[[defense]]
name = "pipeline"
path = "{model}"
"""


@pytest.fixture(scope="module")
def network():
    return networks.build(SPEC, RngStream((1, 2))).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "mine"
    DDPMPipeline(network.body, DDPMScheduler()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "data.npz"
    images = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 1), dtype=np.uint8)
    split = np.repeat(["member", "nonmember", "calibration_in", "calibration_out", "reference"], 24)
    np.savez(file, images=images, split=split, labels=np.arange(120) % 3)
    return file


def builder(data, model, out, more=""):
    file = out / "suite.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(SUITE.format(data=data, model=model) + more)
    return ReleaseBuilder(RunInputs(load(str(file)), RunConfig(out / "run", out / "cache")))


@pytest.mark.slow
def test_scores_are_those_of_the_same_weights_as_our_own_release(network, model, data, tmp_path):
    made = builder(data, model, tmp_path)
    theirs = made.build_release(made.inputs.suite.points[0].chain, 0)
    ours = Release(network, Schedule(steps=4), theirs.streams, SPEC.shape, CPU, batch=32)
    assert theirs.schedule.timesteps() == ours.schedule.timesteps() and theirs.eps_is_raw
    images = Images(made.inputs.images(np.arange(40)), torch.arange(40), None)
    attacks = [Loss(), PIA(), SecMI(), ReDiffuse()]
    asked = {attack.name: AttackRequest(attack, False) for attack in attacks}
    (one, _), (other, _) = (AttackTarget.of(release, theirs.streams).score(asked, images) for release in (ours, theirs))
    for attack in asked:
        assert np.abs(one[attack] - other[attack]).max() < 1e-4 * max(1.0, np.abs(one[attack]).max())
    assert (ours.sample(5) - theirs.sample(5)).abs().max() < 1e-4


ABOVE = """
[[defense]]
name = "cpsample"
base = "pipeline"
steps = 3
batch = 8
width = 8
blocks = 1
[[defense]]
name = "amg"
base = "pipeline"
[[defense]]
name = "reject_resample"
base = "pipeline"
[[attack]]
name = "pia"
[[attack]]
name = "lira_offline"
"""


@pytest.mark.slow
def test_sampling_time_defenses_stand_on_it_and_shadow_models_are_left_out(model, data, tmp_path):
    made = builder(data, model, tmp_path, ABOVE)
    check_compatibility(made.inputs)
    cells = Plan(made).cells
    assert sum(cell.kind == "fit" for cell in cells) == 4, "no shadow model"
    embedding = FeatureExtractor(made.inputs)
    for point in made.inputs.suite.points:
        audit = ReleaseAudit(AuditContext(made, embedding, point, 0))
        found = {(r.attack, r.access): r for r in audit.run(audit.rows())}
        assert {"not-applicable", "not-trained-here"} <= set(found["lira_offline", "DENOISER"].flags)
        assert found["pia", "DENOISER"].metric("auc") is not None
        assert found["quality", "SAMPLES"].info["defense"]["model"] == "mine"
        assert len(found["quality", "SAMPLES"].info["defense"]["model_sha256"]) == 40


def test_the_key_follows_the_files(model, data, tmp_path):
    made = builder(data, model, tmp_path)
    chain = made.inputs.suite.points[0].chain
    before = fit_key(made.inputs, chain, 0)
    assert before == fit_key(builder(data, model, tmp_path).inputs, chain, 0)
    other = tmp_path / "other"
    other.mkdir()
    for file in Path(model).rglob("*"):
        if file.is_file():
            (other / file.relative_to(model)).parent.mkdir(parents=True, exist_ok=True)
            (other / file.relative_to(model)).write_bytes(file.read_bytes())
    same = builder(data, other, tmp_path / "a")
    first = fit_key(same.inputs, same.inputs.suite.points[0].chain, 0)
    config = other / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"beta_end": 0.03}))

    changed = builder(data, other, tmp_path / "b")
    assert fit_key(changed.inputs, changed.inputs.suite.points[0].chain, 0) != first


def test_images_of_another_size_are_one_line(model, tmp_path):
    file = tmp_path / "data.npz"
    np.savez(
        file,
        images=np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8),
        split=np.repeat(["member", "nonmember", "calibration_in", "calibration_out", "reference"], 12),
    )
    with pytest.raises(UsageError) as caught:
        check_compatibility(builder(file, model, tmp_path).inputs)
    assert "its images are 1x8x8, and those of npz:data.npz 3x16x16" in str(caught.value)


def test_more_steps_than_timesteps_are_one_line(network, data, tmp_path):
    DDPMPipeline(network.body, DDPMScheduler(num_train_timesteps=3)).save_pretrained(tmp_path / "short")
    with pytest.raises(UsageError, match="steps = 4: the model of defense 'pipeline' has 3 timesteps"):
        check_compatibility(builder(data, tmp_path / "short", tmp_path).inputs)

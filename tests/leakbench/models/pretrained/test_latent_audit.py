"""A text-conditional latent model audited with defenses above it."""

import numpy as np
import pytest
import torch

from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.compatibility import check_compatibility
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

LATENT = """
name = "latent"
dataset = "npz:{data}"
[sampler]
steps = 2
batch = 20
[quality]
samples = 20
features = "pixels"
[[defense]]
name = "pipeline"
path = "{model}"
captions = "{captions}"
guidance = 2.0
[[defense]]
name = "cpsample"
base = "pipeline"
steps = 1
batch = 2
width = 8
blocks = 1
[[attack]]
name = "pia"
[[attack]]
name = "sima"
[[attack]]
name = "nearest_copy"
"""


@pytest.mark.slow
def test_a_text_conditional_latent_model_is_audited_from_start_to_end(stable_diffusion, tmp_path):
    """Pixels for whoever has no denoiser, latents for whoever has one, and sampling-time defenses on latents."""
    file = tmp_path / "data.npz"
    split = np.repeat(["member", "nonmember", "calibration_in", "calibration_out", "reference"], 20)
    images = np.random.default_rng(0).integers(0, 256, (100, 16, 16, 3), dtype=np.uint8)
    np.savez(file, images=images, split=split, labels=np.arange(100))
    captions = tmp_path / "captions.txt"
    captions.write_text("".join(f"{('the', 'a', 'one')[n % 3]} cat {'abcdefgh'[n % 8]}\n" for n in range(100)))
    toml = tmp_path / "suite.toml"
    toml.write_text(LATENT.format(data=file, model=stable_diffusion[1], captions=captions))
    made = ReleaseBuilder(RunInputs(load(str(toml)), RunConfig(tmp_path / "run", tmp_path / "cache")))
    check_compatibility(made.inputs)
    assert made.inputs.network_of(made.inputs.suite.points[1].chain).shape == (4, 8, 8)
    embedding = FeatureExtractor(made.inputs)
    for point in made.inputs.suite.points:
        audit = ReleaseAudit(AuditContext(made, embedding, point, 0))
        found = {(r.attack, r.access): r for r in audit.run(audit.rows())}
        assert audit.context.samples.shape == (20, 3, 16, 16) and audit.context.samples.abs().max() <= 1
        assert found["pia", "DENOISER"].metric("auc") is not None
        assert found["sima", "WEIGHTS"].metric("auc") is not None
    task = made.task(made.inputs.suite.points[1].chain, 0)
    latents = task.base.encode(made.inputs.images(made.inputs.split.train)[:])
    assert torch.equal(task.images[:], latents) and task.images.shape == (40, 4, 8, 8)

"""A suite with the generated-sample control: own samples are scored, and nothing else moves."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.api import Access
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.membership_evidence import judges_generated
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.run_folder import RunFolder
from leakbench.runtime import registry
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

ROW = RecordSpec("loss", Access.DENOISER)


@pytest.fixture
def audit(tiny, tmp_path, trained, cache):
    """audit(folder, *overrides): of the tiny suite's baseline, whose training is in the cache."""

    def make(folder, *overrides):
        inputs = RunInputs(load(str(tiny), overrides), RunConfig(tmp_path / folder, cache))
        return ReleaseAudit(AuditContext(ReleaseBuilder(inputs), FeatureExtractor(inputs), inputs.suite.points[0], 0))

    return make


def test_own_samples_are_scored_and_all_other_numbers_stay(audit, tmp_path):
    (plain,) = audit("plain").run([ROW])
    (with_it,) = audit("controlled", "generated_control=true").run([ROW])
    before, after = RunFolder(tmp_path / "plain").arrays(plain), RunFolder(tmp_path / "controlled").arrays(with_it)
    assert set(after) - set(before) == {"generated_scores"} and after["generated_scores"].shape == (40,)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    old, new = ({m.name: m for m in one.metrics} for one in (plain, with_it))
    assert {name: new[name] for name in old} == old and plain.queries == with_it.queries
    assert {name for name in new if name not in old} == {
        *("generated_auc", "generated_vs_nonmembers_auc"),
        *(f"generated_rate@fpr={rate}" for rate in ("0.1", "0.01", "0.001")),
    }


def test_the_scores_are_those_of_the_samples_with_noise_of_their_own(audit):
    """By hand: the loss at t = 100 of the first samples in 8 bits, noise numbered after the data set's last image."""
    import torch

    found = audit("controlled", "generated_control=true")
    (record,) = found.run([ROW])
    context = found.context
    pixels = ((context.samples[:40].numpy() + 1) * 127.5).round().clip(0, 255)
    images = torch.from_numpy((pixels / 127.5 - 1).astype(np.float32))
    ids = len(context.inputs.data.images) + torch.arange(40)
    noise = context.inputs.streams(0).of("attacking", "forward").normal(ids, tuple(images.shape[1:]), 0)
    level = float(context.inputs.schedule.alpha_bar[100])
    with torch.no_grad():
        noised = level**0.5 * images + (1 - level) ** 0.5 * noise
        answer = context.release.eps(noised, torch.full((40,), 100), None)
    wanted = -(answer - noise).square().flatten(1).sum(dim=1)
    scores = RunFolder(context.inputs.config.out).arrays(record)["generated_scores"]
    assert np.allclose(scores, wanted.numpy(), rtol=1e-4)


def test_records_follow_the_number_of_samples_only_with_the_control(audit):
    keys = {
        overrides: audit("keys", *overrides).row_key(ROW)
        for overrides in (
            *((), ("quality.samples=80",)),
            *(("generated_control=true",), ("generated_control=true", "quality.samples=80")),
        )
    }
    plain, other_count, controlled, other_controlled = keys.values()
    assert plain == other_count and len({plain, controlled, other_controlled}) == 3


def test_attacks_that_read_samples_or_ask_nothing_are_left_out():
    asked = {name: judges_generated(registry.find("attacks", name)()) for name in ("loss", "rediffuse", "gsa1")}
    spared = {name: judges_generated(registry.find("attacks", name)()) for name in ("blind", "gan_leaks")}
    assert all(asked.values()) and not any(spared.values())

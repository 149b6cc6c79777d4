"""Records say that training or sampling ran in smaller batches, or compiled, also when another run did that."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from leakbench.api import Access, Release
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.models.training import gradients, loop
from leakbench.runtime.device import batching, compile
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

LOSS = RecordSpec("loss", Access.DENOISER)


@pytest.fixture
def audit(tiny, tmp_path):
    """audit(*overrides): of the baseline, as in a new process with the same cache."""

    def make(*overrides):
        batching._FITTED.clear()
        builder = ReleaseBuilder(RunInputs(load(str(tiny), overrides), RunConfig(tmp_path / "run", tmp_path / "cache")))
        return ReleaseAudit(AuditContext(builder, FeatureExtractor(builder.inputs), builder.inputs.suite.points[0], 0))

    return make


def full(*_):
    raise torch.cuda.OutOfMemoryError("simulated")


def test_a_training_that_was_halved_is_told_by_every_record_of_its_release(audit, monkeypatch):
    whole, first = gradients._gradient, audit()
    with monkeypatch.context() as patch:
        patch.setattr(gradients, "_gradient", lambda *given: (full if given[-1] > 8 else whole)(*given))
        first.context.builder.train(first.context.point.chain, 0, (None,))
    (record,) = audit().run([LOSS])
    assert set(record.info["smaller_batches"].values()) == {8} and "smaller-batches" in record.flags
    assert "compiled" not in record.info


def test_what_ran_as_asked_says_nothing(audit):
    (record,) = audit().run([LOSS])
    assert "smaller-batches" not in record.flags and not {"smaller_batches", "compiled"} & set(record.info)


def test_samples_drawn_compiled_say_so_when_they_come_from_the_cache(audit, monkeypatch):
    """A walk of 5 steps and one full batch is long enough here; the training of 60 steps is not."""
    monkeypatch.setattr(compile, "_MIN_STEPS", 5)
    monkeypatch.setattr(loop, "maybe_compile", lambda *_: nullcontext())
    with monkeypatch.context() as patch:
        patch.setattr(compile, "_BACKEND", "eager")
        drawn = audit("compile=true", "sampler.batch=16").context.samples
    later = audit("compile=true", "sampler.batch=16")
    assert torch.equal(later.context.samples, drawn)
    (record,) = later.run([LOSS])
    assert [work.split()[0] for work in record.info["compiled"]] == ["sampling"]


def test_smaller_batches_of_the_samples_of_one_label_are_noted_as_well(audit, monkeypatch):
    generate = Release.generate

    def picky(release, ids, label=None, draw=0):
        if ids[0] >= 60 and len(ids) > 16:  # beyond the 60 samples that are not of that label
            full()
        return generate(release, ids, label, draw)

    monkeypatch.setattr(Release, "generate", picky)
    monkeypatch.setattr(AuditContext, "forgotten_label", property(lambda self: 3))
    context = audit('network.condition="label"').context
    assert len(context.forgotten_label_samples) == 30 and set(context.sampling_facts["smaller_batches"].values()) == {
        16
    }

"""What replication attacks get out of a release, and what becomes of it: candidates, recoveries, groups, thresholds."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from leakbench.api import Access, Release, ReplicationAttack, ReplicationEvidence, Skip
from leakbench.api.answer_cache import QueriedRelease
from leakbench.api.replication import RecoveryAttack, SampleSet
from leakbench.attacks.replication.nearest_copy import NearestCopy
from leakbench.data.image_batch import Images
from leakbench.data.neighbours import Matches
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.extraction import extract_candidates, recover
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.query_engine import AttackTarget
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.metrics.copying import pixel_similarity, threshold_at
from leakbench.metrics.evaluate.replication import evaluate_replication
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec, build
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.batch_sizes import next_size
from leakbench.runtime.device import Rng
from leakbench.runtime.run_config import RunConfig
from leakbench.statistics.proportions import clopper_pearson, difference
from leakbench.suite.load import load
from leakbench.testing import check_plugin, failures

SHAPE, STREAMS = (1, 8, 8), Rng("test", 0)


class Pixels(ReplicationAttack):
    """Ordinary samples, by pixels."""

    name = "pixels"
    summary = "by pixels"

    def match(self, queries: torch.Tensor, train: torch.Tensor, embed: Any) -> Matches:
        return pixel_similarity(queries, train)


class Numbered(Pixels):
    """Images that say which sample and label they were asked for."""

    name = "numbered"
    access = Access.DENOISER

    def fit(self, drawn: SampleSet) -> ReplicationAttack:
        assert drawn.schedule is not None and drawn.embed(drawn.samples).shape == (len(drawn.samples), 64)
        return self

    def candidates(self, view: Any, samples: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        view.eps(samples, 3)
        marks = view.ids / 1000 + (0 if labels is None else labels / 10)
        return marks.float()[:, None, None, None].expand(-1, *SHAPE)


class Returned(RecoveryAttack):
    """How alike an image is to its own variation."""

    name = "returned"
    summary = "one variation"
    access = Access.API

    def recover(self, view: Any, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return -(view.vary(images, 0.5) - images).square().flatten(1).mean(dim=1)


def target(batch: int = 16, conditions: int = 0) -> AttackTarget:
    spec = NetworkSpec(kind="mlp", shape=SHAPE, width=16, blocks=1, conditions=conditions)
    network = build(spec, STREAMS.of("weights")).eval().requires_grad_(False)
    release = Release(network, Schedule(steps=4), STREAMS, SHAPE, torch.device("cpu"), batch=batch)
    return AttackTarget(QueriedRelease(release, partial(release.sample, 40)), STREAMS)


def flat(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1)


def test_an_attack_without_candidates_of_its_own_gets_the_samples():
    samples = target().release.sample(21)
    found = extract_candidates(target(), Pixels(), samples, flat)
    assert torch.equal(found.images, samples) and found.queries == 0


@pytest.mark.parametrize("conditions", [0, 3])
def test_candidates_are_asked_for_by_sample_number_and_label(conditions):
    release = target(conditions=conditions).release
    found = extract_candidates(target(conditions=conditions), Numbered(), release.sample(21), flat)
    ids = torch.arange(21)
    expected = ids / 1000 + (release.labels(ids) / 10 if conditions else 0)
    torch.testing.assert_close(found.images[:, 0, 0, 0], expected.float())
    assert found.queries == 1


class Uneven(Numbered):
    """Asks twice about the samples of the first batch, once about others; and draws three samples more for all."""

    reads_samples = True

    def candidates(self, view: Any, samples: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        view.sample(3)
        for _ in range(2 if int(view.ids.min()) == 0 else 1):
            view.eps(samples, 3)
        return samples


class UnevenlyReturned(Uneven, RecoveryAttack):
    """The same of given images."""

    def recover(self, view: Any, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return self.candidates(view, images, labels).flatten(1).sum(dim=1)


@pytest.mark.parametrize("batch", [4, 5, 32])
def test_queries_are_a_mean_over_all_batches_and_samples_cost_what_they_cost_once(batch):
    at, samples = target(batch), target(batch).release.sample(21)
    wanted = (21 + next_size(21, batch) + 3 * 4) / 21  # four steps a sample
    assert extract_candidates(at, Uneven(), samples, flat).queries == wanted
    assert recover(at, UnevenlyReturned(), Images(samples, torch.arange(21), None))[1].mean == wanted


def test_below_the_denoiser_there_is_no_schedule_and_no_eps():
    cheat = type("Cheat", (Numbered,), {"access": Access.API})
    with pytest.raises(AssertionError):
        extract_candidates(target(), cheat(), target().release.sample(5), flat)
    cheat = type("Cheat", (Numbered,), {"access": Access.API, "fit": ReplicationAttack.fit})
    with pytest.raises(AttributeError, match="eps"):
        extract_candidates(target(), cheat(), target().release.sample(5), flat)


def test_an_answer_of_the_wrong_shape_is_named():
    few = type("Few", (Pixels,), {"candidates": lambda self, view, samples, labels: samples[..., :4]})
    with pytest.raises(ValueError, match="one image a sample"):
        extract_candidates(target(), few(), target().release.sample(5), flat)
    wide = type("Wide", (Returned,), {"recover": lambda self, view, images, labels: images})
    with pytest.raises(ValueError, match=r"it must be \(5,\)"):
        recover(target(), wide(), Images(torch.zeros(5, *SHAPE), torch.arange(5), None))


@pytest.mark.parametrize("kind", [Pixels, Numbered, Returned])
def test_the_conformance_suite_passes_them(kind):
    assert failures(kind) == []


def test_the_conformance_suite_sees_what_depends_on_the_batch():
    def jumbled(self: Any, view: Any, samples: torch.Tensor, labels: Any) -> torch.Tensor:
        return samples - samples.mean(dim=0)

    def ranked(self: Any, view: Any, images: torch.Tensor, labels: Any) -> torch.Tensor:
        return torch.arange(len(images)).double()

    for kind, hook, words in (
        (Pixels, {"candidates": jumbled}, "batch size"),
        (Returned, {"recover": ranked}, "order"),
    ):
        found = [result.name for result in failures(type("Bad", (kind,), hook))]
        assert any(words in text for text in found)


def test_what_a_machine_lacks_is_a_flag_and_no_crash(tiny, tmp_path, monkeypatch):
    missing = Skip("its weights are not on this machine", "not-applicable", ("weights-missing",))
    lacking = type("Lacking", (Pixels,), {"skip": lambda self, setting: missing})
    assert [result.passed for result in check_plugin(lacking) if missing.reason in result.skip] == [True]
    monkeypatch.setattr(NearestCopy, "skip", lambda self, setting: missing)
    inputs = RunInputs(load(str(tiny), ()), RunConfig(tmp_path / "run", tmp_path))
    context = AuditContext(ReleaseBuilder(inputs), FeatureExtractor(inputs), inputs.suite.points[0], 0)
    (record,) = ReleaseAudit(context).run([RecordSpec("nearest_copy", Access.SAMPLES)])
    assert record.flags == ["not-applicable", "weights-missing"] and record.metrics == []
    assert record.info["skipped"] == missing.reason


# From evidence to numbers ---------------------------------------------------------------------------------------------


def evidence(**more: Any) -> ReplicationEvidence:
    rng = np.random.default_rng(0)
    similarity = np.concatenate([rng.normal(size=90), np.full(10, 5.0)])
    return ReplicationEvidence(similarity, np.arange(100) % 40, rng.normal(size=200), rng.normal(size=150), **more)


def test_a_published_threshold_stands_beside_the_calibrated_one_with_a_null_of_its_own():
    raw = evidence()
    found = {m.name: m for m in evaluate_replication(raw, published=1.0).metrics}
    copies, false = int((raw.similarity >= 1).sum()), int((raw.null_similarity >= 1).sum())
    expected = {
        "copy_rate_published": clopper_pearson(copies, 100),
        "copy_rate_published_null": clopper_pearson(false, 150),
        "copy_rate_published_excess": difference(copies, 100, false, 150),
    }
    for name, one in expected.items():
        assert (found[name].value, found[name].ci_low, found[name].ci_high) == (one.value, one.low, one.high)
    assert found["unique_copies_published"].value == len(set(raw.nearest[raw.similarity >= 1]))
    assert found["copy_rate"].value < found["copy_rate_published"].value
    assert not [m.name for m in evaluate_replication(raw).metrics if "published" in m.name]


def test_images_of_its_own_are_compared_with_as_many_ordinary_samples():
    raw = evidence(ordinary_similarity=np.linspace(-3, 3, 100), ordinary_nearest=np.arange(100))
    found = evaluate_replication(raw)
    values = {m.name: m.value for m in found.metrics}
    limits = [threshold_at(raw.threshold_similarity, rate) for rate in (0.1, 0.05, 0.01)]
    assert list(found.info["band_thresholds"].values()) == limits
    assert values["ams_high"] == values["copy_rate"] and values["ums_high"] == values["unique_copies"] / 100
    assert values["ams_high_ordinary"] == values["ums_high_ordinary"] == (raw.ordinary_similarity >= limits[2]).mean()
    bands = [values[f"ams_{band}_null"] for band in ("low", "mid", "high")]
    assert sum(bands) == pytest.approx((raw.null_similarity >= limits[0]).mean())
    assert not [name for name in values if name.startswith("ums") and name.endswith("null")]
    assert "ordinary_nearest" in raw.arrays and "ordinary_nearest" not in evidence().arrays


def test_groups_are_published_beside_those_of_real_images():
    group, real = np.array([-1, 0, 0, 0]), np.array([-1, -1, -1, 2])
    found = {m.name: m for m in evaluate_replication(evidence(group=group, null_group=real)).metrics}
    assert found["grouped_rate"].value == 0.75 and found["grouped_rate_null"].value == 0.25
    assert found["grouped_rate"].n == 4 and found["grouped_rate"].ci_low is None


def test_aimed_at_images_do_not_grow_with_samples():
    names = [m.name for m in evaluate_replication(evidence(), grows=False).metrics]
    assert names == ["copy_rate", "copy_rate_null", "copy_rate_excess", "unique_copies"]
    assert "unique_copies@samples=25" in [m.name for m in evaluate_replication(evidence()).metrics]


ATTACKS = """
[[attack]]
name = "carlini_pixel"

[[attack]]
name = "carlini_tiled"

[[attack]]
name = "side"
clusters = 3
cohesion = -1
steps = 5

[[attack]]
name = "inpaint_extraction"
attempts = 2
keep = 1

[[attack]]
id = "by_lpips"
name = "nearest_copy"
by = "lpips"
"""


def test_a_run_of_several_replication_attacks(leakbench, trained, tiny, tmp_path, monkeypatch):
    """One record each: what it generated, what came back, what is lacking, what does not apply."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nowhere")
    text = tiny.read_text().replace('[[attack]]\nname = "loss"\n', "").replace('[[attack]]\nname = "pia"\n', ATTACKS)
    head, _, tail = text.partition('[[defense]]\nname = "cpsample"')
    tiny.write_text(head + tail[tail.index("[[attack]]") :])
    outcome = leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1)
    assert outcome.code == 0, outcome.err
    run = RunFolder(tmp_path / "run")
    found = {record.attack: record for record in run.records}
    assert found["carlini_tiled"].flags == ["not-applicable"]
    assert {"lpips-missing", "not-applicable"} <= set(found["by_lpips"].flags)
    guided, recovered = found["side"], found["inpaint_extraction"]
    assert guided.queries == 5 and recovered.queries == 2 * (5 + 1)
    assert {guided.access, recovered.access} == {"DENOISER"} and guided.info["clusters_kept"] == 3
    assert guided.metric("ams_high_ordinary").value == found["carlini_pixel"].metric("copy_rate").value
    arrays = run.arrays(guided)
    assert arrays["similarity"].shape == arrays["ordinary_similarity"].shape == (60,)
    np.testing.assert_array_equal(arrays["ordinary_similarity"], run.arrays(found["carlini_pixel"])["similarity"])
    assert arrays["pair_samples"].shape == (12, 8, 8, 1)
    arrays = run.arrays(recovered)
    assert [len(arrays[name]) for name in ("similarity", "threshold_similarity", "null_similarity")] == [40, 40, 40]
    assert len(set(arrays["nearest"].tolist())) == 40 and arrays["nearest"].max() < 60
    assert "pair_samples" not in arrays and recovered.metric("copy_rate").n == 40

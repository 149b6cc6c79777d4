"""What a fit and a record depend on, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leakbench.api import Access
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import fit_key, fit_parts, hash_parts
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.record import QUALITY
from leakbench.runtime import code_digest, source_file
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

LOSS, QUALITY_ROW = RecordSpec("loss", Access.DENOISER), RecordSpec(QUALITY, Access.SAMPLES)
MORE = '\n[[attack]]\nname = "gan_leaks"\n[[attack]]\nname = "carlini_pixel"\n'
SAMPLED, COPIED = RecordSpec("gan_leaks", Access.SAMPLES), RecordSpec("carlini_pixel", Access.SAMPLES)


@pytest.fixture
def audit(tiny, tmp_path):
    """audit(*overrides): the audit of the tiny suite's baseline, with two more attacks."""
    tiny.write_text(tiny.read_text() + MORE)

    def of(*overrides, images=True):
        config = RunConfig(tmp_path / "run", tmp_path / "cache", images=images)
        inputs = RunInputs(load(str(tiny), overrides), config)
        context = AuditContext(ReleaseBuilder(inputs), FeatureExtractor(inputs), inputs.suite.points[0], 0)
        return ReleaseAudit(context)

    return of


def rooms(modules):
    return {name.split(".")[1] for name in modules}


def test_what_a_fit_reaches(audit):
    context = audit().context
    parts = fit_parts(context.inputs, context.point.chain, 0)
    modules = sorted(parts["code"])
    print("\n".join(modules))
    assert modules == [name for name in modules if name.startswith("leakbench.")]
    reached = ("defenses.baseline", "measurement.tasks", "measurement.auxiliary", "models.training.loop", "models.task")
    assert {f"leakbench.{name}" for name in (*reached, "models.networks", "runtime.device.rng")} <= set(modules)
    assert not {"attacks", "cli", "metrics", "reports", "runner", "statistics", "suite"} & rooms(modules)
    assert not {"leakbench.api.views", "leakbench.measurement.releases"} & set(modules)
    assert {"torch", "numpy"} <= set(parts["libraries"])
    assert not {"scipy", "lpips", "rich", "typer", "matplotlib"} & set(parts["libraries"])


def test_what_a_record_reaches(audit):
    parts = audit().row_parts(LOSS)
    modules = sorted(parts["code"])
    print("\n".join(modules))
    reached = ("attacks.membership.loss", "api.views", "measurement.query_engine", "metrics.evaluate.membership")
    assert {f"leakbench.{name}" for name in (*reached, "statistics.auc")} <= set(modules)
    assert not {"cli", "defenses", "reports", "runner", "suite"} & rooms(modules)
    for other in ("metrics.quality", "metrics.features", "metrics.copying", "attacks.membership.pia"):
        assert f"leakbench.{other}" not in modules
    quality = set(audit().row_parts(QUALITY_ROW)["code"])
    assert {"leakbench.metrics.quality", "leakbench.metrics.features"} <= quality
    assert "attacks" not in rooms(quality)


def keys_of(audit):
    context = audit.context
    rows = {"loss": LOSS, "gan_leaks": SAMPLED, "carlini_pixel": COPIED, "quality": QUALITY_ROW}
    fit = fit_key(context.inputs, context.point.chain, 0)
    return {"fit": fit} | {name: audit.row_key(row) for name, row in rows.items()}


def changed(before, after):
    return {name for name, key in before.items() if after[name] != key}


def test_settings_of_quality_are_no_part_of_a_membership_record(audit):
    """Fault 6: `quality.samples` and `--no-images` ran membership attacks again."""
    before = keys_of(audit())
    assert changed(before, keys_of(audit("quality.samples=70"))) == {"gan_leaks", "carlini_pixel", "quality"}
    assert changed(before, keys_of(audit("quality.features=pixels"))) == {"carlini_pixel", "quality"}
    assert changed(before, keys_of(audit("quality.beside=[]"))) == {"quality"}
    assert changed(before, keys_of(audit(images=False))) == {"carlini_pixel"}
    assert changed(before, keys_of(audit("attack.loss.t=7"))) == {"loss"}


CASES = {
    "a docstring of the views": ("api/views.py", lambda text: text.replace('"""Views', '"""The views'), set()),
    "the views": ("api/views.py", lambda text: text + "\nX = 1\n", {"loss", "gan_leaks", "carlini_pixel", "quality"}),
    "how quality is measured": ("metrics/quality.py", lambda text: text + "\nX = 1\n", {"carlini_pixel", "quality"}),
    "an attack": ("attacks/membership/loss.py", lambda text: text + "\nX = 1\n", {"loss"}),
    "reports": ("leakbench/cli/run.py", lambda text: text + "\nX = 1\n", set()),
    "the training loop": (
        "models/training/loop.py",
        lambda text: text + "\nX = 1\n",
        {"fit", "loss", "gan_leaks", "carlini_pixel", "quality"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_change_of_code_makes_again_what_reaches_it(audit, edited, case):
    before = keys_of(audit())
    name, change, wanted = CASES[case]
    edited(name, change)
    assert changed(before, keys_of(audit())) == wanted


def test_another_library_trains_again(audit, monkeypatch):
    """Fault 3: keys held no versions."""

    def all_keys():
        context = audit().context
        (samples,), classifier = context.list_samples_keys(()), context.extractor._classifier_parts("classifier")
        return keys_of(audit()) | {"samples": samples, "classifier": hash_parts(classifier)}

    before = all_keys()
    real = code_digest._version
    monkeypatch.setattr(code_digest, "_version", lambda name: "9.9" if name == "torch" else real(name))
    code_digest.code_closure.cache_clear()
    try:
        assert changed(before, all_keys()) == set(before)
    finally:
        code_digest.code_closure.cache_clear()


def test_where_code_lies_is_no_part_of_a_key(audit):
    context = audit().context
    parts = fit_parts(context.inputs, context.point.chain, 0)
    moved = {f"elsewhere.{name}": digest for name, digest in parts["code"].items()}
    assert hash_parts(parts | {"code": moved}) == hash_parts(parts)
    assert hash_parts(parts | {"seed": 1}) != hash_parts(parts)


def test_keys_of_a_large_plan_are_made_quickly(audit):
    """Those of 1000 records take less time than one training of the tiny suite: no file is read for them again."""
    one = audit()
    keys_of(one)
    reads = []
    real = source_file.parse_source
    source_file.parse_source = lambda *words: reads.append(words) or real(*words)
    try:
        for seed in range(1000):
            ReleaseAudit(replace(one.context, seed=seed)).row_key(LOSS)
    finally:
        source_file.parse_source = real
    assert reads == []

"""`leakbench rerun`: a record made again from the record and the plan alone, and compared."""

from __future__ import annotations

import json
import shutil
import tempfile

import pytest

from leakbench.results.record import Metric
from leakbench.results.record_files import read_record, write_record
from leakbench.runner.record_comparison import compare_records
from leakbench.runtime import code_digest

SWEPT = "cpsample_alpha=0.25__pia__DENOISER__seed0"


@pytest.fixture
def alone(finished, tmp_path, monkeypatch):
    """alone(stem, change): a folder that holds a plan and one record of the finished run, and nothing else: what goes
    to another machine. `change` may alter the record. Temporary folders are made below tmp_path/temporary."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "there" / "records").mkdir(parents=True)
    shutil.copy(finished.out / "plan.json", tmp_path / "there")

    def copy(stem, change=lambda record: record):
        path = tmp_path / "there" / "records" / f"{stem}.json"
        write_record(path, change(read_record(finished.out / "records" / f"{stem}.json")))
        return path

    return copy


@pytest.fixture
def rerun(leakbench):
    return lambda path, *words: leakbench("rerun", path, "--workers", 1, *words)


def change_auc(by):
    """A record whose AUC was another one, by a share of the width of its interval."""

    def change(record):
        old = record.metric("auc")
        new = old.model_copy(update={"value": old.value + by * (old.ci_high - old.ci_low)})
        return record.model_copy(update={"metrics": [new if one is old else one for one in record.metrics]})

    return change


def test_a_record_and_its_plan_are_enough_to_make_it_again_to_the_bit(rerun, alone, tmp_path, cache):
    path = alone(SWEPT)
    outcome = rerun(path)
    assert (outcome.code, outcome.err) == (0, ""), outcome.err
    assert "not as it was" not in outcome.out
    lines = outcome.out.splitlines()
    assert [line for line in lines if "train baseline" in line or "train cpsample" in line]
    rows = [line for line in lines if line.endswith(("same", "within tolerance", "differs"))]
    metrics = len(read_record(path).metrics)
    assert len(rows) == metrics + 2 and all(row.endswith("same") for row in rows)
    assert lines[-1].startswith(f"agrees: {metrics + 2} the same, 0 within tolerance, 0 differ")
    assert [*(tmp_path / "temporary").iterdir()] == [] and not (cache / "fits").exists()  # nothing of it is kept
    assert sorted(one.name for one in (tmp_path / "there").iterdir()) == ["plan.json", "records"]


def test_quality_is_made_again_and_trainings_are_taken_from_the_cache_if_asked(rerun, alone, trained):
    outcome = rerun(alone("baseline__quality__SAMPLES__seed0"), "--cached")
    assert outcome.code == 0 and "0 within tolerance, 0 differ" in outcome.out
    assert "train baseline" not in outcome.out


@pytest.mark.parametrize(("by", "code", "word"), [(0.65, 0, "within tolerance"), (-0.75, 1, "differs")])
def test_a_number_that_moved_is_told_by_its_interval(rerun, alone, trained, by, code, word):
    outcome = rerun(alone("baseline__pia__DENOISER__seed0", change_auc(by)), "--cached")
    (row,) = (line for line in outcome.out.splitlines() if line.startswith("auc "))
    assert (outcome.code, row.endswith(word)) == (code, True)
    *_, verdict, note = outcome.out.splitlines()
    assert verdict.startswith("agrees" if code == 0 else "differs")
    assert note == "nothing that it rests on has changed here, and 1 numbers are not the same to the bit"


@pytest.fixture
def fresh_digests():
    code_digest.code_closure.cache_clear()
    yield
    code_digest.code_closure.cache_clear()


def test_other_versions_are_named_first_and_it_goes_on(rerun, alone, monkeypatch, fresh_digests):
    def older(record):
        environment = record.run.environment
        changed = environment.model_copy(update={"auditor": environment.auditor | {"diffusers": "0.1"}})
        return record.model_copy(update={"run": record.run.model_copy(update={"environment": changed})})

    real = code_digest._version
    monkeypatch.setattr(code_digest, "_version", lambda name: "9.9" if name == "torch" else real(name))
    outcome = rerun(alone("baseline__loss__DENOISER__seed0", older))
    first = outcome.out.split("[1/")[0].replace("\n  ", " ")
    assert first.startswith("not as it was: ")
    assert f"torch {real('torch')} -> 9.9 (train baseline)" in first and "diffusers 0.1 -> " in first
    assert outcome.code == 0 and outcome.out.splitlines()[-1].startswith("agrees")


def test_other_data_end_it_in_one_line(rerun, alone):
    def other(record):
        trainings = [parts | {"data": "0" * 40} for parts in record.run.trainings]
        return record.model_copy(update={"run": record.run.model_copy(update={"trainings": trainings})})

    outcome = rerun(alone(SWEPT, other))
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "the data set 'digits' does not hold what it held" in outcome.err


def test_what_is_no_record_of_a_run_is_one_line(rerun, alone, tmp_path):
    path = alone(SWEPT)
    plan = json.loads((tmp_path / "there" / "plan.json").read_text())
    plan["settings"]["attack"] = []
    (tmp_path / "there" / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "lost").mkdir()
    for given, words in ((tmp_path / "no.json", "no such file"), (path, "which the record is of")):
        outcome = rerun(given)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1) and words in outcome.err
    shutil.copy(path, tmp_path / "lost" / "record.json")
    assert "no plan.json" in rerun(tmp_path / "lost" / "record.json").err


def test_an_attack_that_fails_now_is_told(rerun, alone, trained, monkeypatch):
    from leakbench.attacks.membership.pia import PIA

    monkeypatch.setattr(PIA, "score", lambda *_: 1 / 0)
    outcome = rerun(alone(SWEPT), "--cached")
    assert outcome.code == 1 and "failed: cpsample alpha=0.25, seed 0: AttackFailed" in outcome.err


def test_metrics_that_only_one_record_has_and_other_counts_differ(finished):
    record = read_record(finished.out / "records" / f"{SWEPT}.json")
    more = Metric(name="extra", value=1.0, n=3)
    fewer = [one.model_copy(update={"n": one.n - 1}) if one.name == "auc" else one for one in record.metrics]
    other = record.model_copy(update={"metrics": [*fewer, more], "queries": record.queries * (1 + 1e-9)})
    found = {one.name: one.outcome for one in compare_records(record, other)}
    assert (found["auc"], found["extra"], found["queries"]) == ("differs", "differs", "within tolerance")
    assert {*found.values()} == {"same", "differs", "within tolerance"}

"""Results in the schema of Every Eval Ever are those of the records, and pass its validator where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid

import pytest

from leakbench.reports.reading.aggregate import aggregate
from leakbench.reports.tables.every_eval_ever import write_jsonl

VALIDATOR = shutil.which("every_eval_ever")  # pip install every-eval-ever, which takes Python 3.12


@pytest.fixture(scope="module")
def objects(run):
    (path,) = write_jsonl(run)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_object_a_point(run, objects):
    assert [one["model_info"]["name"] for one in objects] == [point.name for point in run.plan.points]
    ids = [one["model_info"]["id"] for one in objects]
    assert len(set(ids)) == len(ids) and "quick/cpsample-alpha=0.25" in ids
    assert {one["schema_version"] for one in objects} == {"0.3.0"}


def test_scores_and_intervals_are_those_over_the_seeds(run, objects):
    found = {one["evaluation_result_id"]: one for one in objects[0]["evaluation_results"]}
    records = [r for r in run.records if (r.point, r.attack, r.access) == ("baseline", "pia", "DENOISER")]
    expected = aggregate(records, "auc").estimate
    auc = found["pia/DENOISER/auc"]
    assert auc["score_details"]["score"] == expected.value
    interval = auc["score_details"]["uncertainty"]["confidence_interval"]
    assert (interval["lower"], interval["upper"]) == (expected.low, expected.high)
    assert auc["metric_config"]["additional_details"]["better"] == "closest to 0.5"
    assert (auc["metric_config"]["min_score"], auc["metric_config"]["max_score"]) == (0.0, 1.0)
    assert found["quality/SAMPLES/frechet_heldout"]["metric_config"]["max_score"] == "Infinity"
    assert "quality/SAMPLES/frechet_floor" not in found  # speaks for nobody


def test_no_image_and_no_score_of_one_is_in_it(run, objects):
    """Nothing is longer than a list of metrics: no row, no member."""
    text = json.dumps(objects)
    assert "member_rows" not in text and "scores" not in text


@pytest.mark.skipif(VALIDATOR is None, reason="every-eval-ever is not installed")
def test_its_own_validator_takes_them(objects, tmp_path):
    for one in objects:
        folder = tmp_path / "data" / "leakbench" / one["model_info"]["id"]
        folder.mkdir(parents=True)
        (folder / f"{uuid.uuid4()}.json").write_text(json.dumps(one))
    command = [VALIDATOR, "validate", "data/**/*.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "0 failed" in done.stdout, done.stdout[-2000:]

"""Records of schema 1 are read as schema 2: what they found is unchanged, what moved stands where it belongs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from leakbench.results.record_files import read_record
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError

FOLDER = Path(__file__).parent / "schema_1"
FILES = sorted((FOLDER / "records").glob("*.json"))
RENAMED = {"epsilon-above-claim": "epsilon-above-guarantee", "ceiling-below-claim": "ceiling-below-guarantee"}
MOVED = {"schema_version", "claims", "guarantee", "adaptive", "info", "run", "metrics"}


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def pair(request):
    """The fields as they lie in the file, and the record that is read from it."""
    return json.loads(request.param.read_text()), read_record(request.param)


def test_everything_that_did_not_move_is_as_it_was(pair):
    old, record = pair
    assert old["schema_version"] == 1
    new = record.model_dump(mode="json")
    assert {key: value for key, value in new.items() if key not in MOVED} == {
        key: value for key, value in old.items() if key not in MOVED
    }
    assert [metric | {"n_groups": None} for metric in old["metrics"]] == new["metrics"]


def test_the_claims_are_the_guarantee(pair):
    old, record = pair
    named = {"neighbours", "adjacency", "unit"}
    assert {k: v for k, v in record.guarantee.items() if k not in named} == {
        k: v for k, v in old["claims"].items() if k not in named
    }
    if "neighbours" in old["claims"]:
        assert old["claims"]["neighbours"] == "add or remove one image"
        assert (record.guarantee["adjacency"], record.guarantee["unit"]) == ("add-or-remove", "image")


def test_flags_that_spoke_of_claims_speak_of_guarantees(tmp_path):
    old = json.loads(FILES[0].read_text()) | {"flags": sorted([*RENAMED, "few-negatives"])}
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert read_record(tmp_path / "old.json").flags == sorted([*RENAMED.values(), "few-negatives"])


def test_the_environment_is_the_auditors(pair):
    old, record = pair
    assert record.run.environment.auditor == old["run"]["environment"] != {}
    assert record.run.environment.trainer == {}
    assert (record.run.timings, record.run.calls) == (old["run"]["timings"], old["run"]["calls"])


def test_the_fixtures_hold_what_moved():
    records = {path.stem.split("__")[1]: read_record(path) for path in FILES}
    assert "adjacency" in records["pia"].guarantee
    assert records["canary_one_run"].info["canary_guarantee"] == records["canary_one_run"].guarantee != {}
    assert {name: record.adaptive for name, record in records.items()} == {
        "adaptive_cpsample": True,
        "canary_one_run": False,
        "pia": False,
    }


def test_a_plan_that_names_a_point_twice_is_refused_in_one_line(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps({"points": [{"point": "a"}, {"point": "b"}, {"point": "a"}]}))
    with pytest.raises(UsageError, match=r"plan\.json: .*point 'a' stands there twice"):
        _ = RunFolder(tmp_path).plan


def test_an_adaptive_attack_under_an_id_of_the_suites_own_is_known_by_its_method(tmp_path):
    shutil.copytree(FOLDER / "records", tmp_path / "records")
    path = next((tmp_path / "records").glob("*__pia__*"))
    for method, adaptive in (("adaptive_amg", True), ("secmi", False)):
        entries = [{"id": "pia", "name": method}, {"name": "canary_one_run"}]
        (tmp_path / "plan.json").write_text(json.dumps({"settings": {"attack": entries}}))
        found = {record.attack: record.adaptive for record in RunFolder(tmp_path).records}
        assert found == {"pia": adaptive, "canary_one_run": False, "adaptive_cpsample": True}
        assert read_record(path, {"pia": method}).adaptive is adaptive

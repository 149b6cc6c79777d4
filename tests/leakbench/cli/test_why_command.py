"""`leakbench why`: what would be made again, and why."""

from __future__ import annotations

import json

import pytest

from leakbench.runner.why import Reason, format_reasons
from leakbench.runtime import code_digest
from leakbench.runtime.cache.key_diff import list_differences


@pytest.fixture
def why(again, leakbench):
    """why(*words): the lines about a copy of the finished run of the tiny suite."""

    def lines(*words):
        outcome = leakbench("why", again.out, *words)
        assert outcome.code == 0, outcome.err
        assert max(map(len, outcome.out.splitlines())) <= 100 or "nothing would" in outcome.out
        return outcome.out.replace("\n  ", " ").splitlines()

    return lines


def test_a_finished_run_needs_nothing(why, again):
    assert why() == [f"{again.out}: nothing would be made again"]


def test_a_suite_that_never_ran_says_so(leakbench, tiny, tmp_path):
    outcome = leakbench("why", tiny, "--out", tmp_path / "none")
    lines = outcome.out.replace("\n  ", " ").splitlines()
    assert outcome.code == 0 and lines[0] == "train baseline, seed 0: never made"
    assert all(line.endswith(": never made") for line in lines) and not (tmp_path / "none").exists()


def test_a_parameter_is_named_with_both_values(why):
    lines = why("--set", "defense.baseline.steps=80")
    assert lines[0] == "train baseline, seed 0: steps 60 -> 80"
    assert "train cpsample, seed 0: its base changed" in lines
    assert {line.rpartition(": ")[2] for line in lines[2:]} == {"steps 60 -> 80 (train baseline)"}


def test_what_only_samples_trains_nothing(why):
    lines = why("--set", "quality.samples=50")
    assert lines and not any("train" in line for line in lines)
    assert all("loss at" not in line and line.endswith(": samples 60 -> 50") for line in lines), lines


def test_releases_with_the_same_reason_share_a_line():
    many = [Reason(f"cpsample scale={i}.0, seed 0", ("a changed", "b changed"), "quality") for i in range(20)]
    train, other = Reason("train baseline, seed 0", ("steps 1 -> 2",)), Reason("b", ("c",), "pia")
    assert format_reasons([train, many[0], other, *many[1:]]) == [
        "train baseline, seed 0: steps 1 -> 2",
        "quality, of 20 releases (cpsample scale=0.0, seed 0; cpsample scale=1.0, seed 0; cpsample scale=2.0, "
        "seed 0 and 17 more): a changed, b changed",
        "b, pia: c",
    ]


@pytest.fixture
def fresh_digests():
    code_digest.code_closure.cache_clear()
    yield
    code_digest.code_closure.cache_clear()


def test_a_library_is_named_with_both_versions(why, monkeypatch, fresh_digests):
    real = code_digest._version
    monkeypatch.setattr(code_digest, "_version", lambda name: "9.9" if name == "torch" else real(name))
    first = why()[0]
    assert first == f"train baseline, seed 0: torch {real('torch')} -> 9.9"


def test_the_module_that_changed_is_named_and_none_that_imports_it(why, monkeypatch, fresh_digests):
    real = code_digest.read_source

    def read(path):
        from leakbench.runtime.source_file import parse_source

        return parse_source(path.read_bytes() + b"X = 1") if path.parts[-2:] == ("training", "loop.py") else real(path)

    monkeypatch.setattr(code_digest, "read_source", read)
    lines = why()
    assert lines[0] == "train baseline, seed 0: code of leakbench.models.training.loop changed"
    assert any(" loss at" in line and "code of leakbench.models.training.loop changed (train" in line for line in lines)


def test_what_is_damaged_is_named(why, again):
    next((again.out / "arrays").glob("baseline__loss__*.npz")).write_bytes(b"")
    (line,) = why()
    assert line.startswith("baseline, seed 0, loss at") and line.endswith("its arrays are damaged or gone")


def test_parts_lie_beside_what_they_are_of(again):
    folders = [path.parent for path in again.cache.glob("*/*/manifest.json")]
    assert folders and all((folder / "key.json").is_file() for folder in folders)
    for path in (again.out / "records").glob("*.json"):
        assert json.loads(path.read_text())["run"]["key"]["code"]


def test_what_it_cannot_find_is_one_line(leakbench, tmp_path):
    outcome = leakbench("why", tmp_path / "nowhere")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)


MANY = {"steps": 60, "network": {"width": 32, "levels": [1, 2]}, "data": "a" * 64, "code": {"m": "1" * 16}}


def test_differences_are_named_by_their_innermost_name():
    other = {"steps": 80, "network": {"width": 32, "levels": [1, 4]}, "data": "b" * 64, "code": {"m": "2" * 16}}
    assert list_differences(MANY, other) == [
        "steps 60 -> 80",
        "levels 2 -> 4",
        "data changed",
        "code of m changed",
    ]
    assert list_differences(MANY, json.loads(json.dumps(MANY))) == []


def test_code_that_only_moved_is_no_difference():
    moved = {**MANY, "code": {"elsewhere.m": "1" * 16}}
    assert list_differences(MANY, moved) == []
    more = {**MANY, "code": {"m": "1" * 16, "n": "3" * 16}}
    assert list_differences(MANY, more) == ["code of n is reached now"]
    assert list_differences(more, MANY) == ["code of n is reached no longer"]
    assert list_differences({**MANY, "imports": "x"}, {**MANY, "imports": "y"}) == ["an import leads to other code"]

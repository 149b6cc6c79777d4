"""Files that were cut short, or in which a disk has turned a bit over: named and made again, or refused by name."""

from __future__ import annotations

import json
import os
import random
import shutil

import pytest

from leakbench.results.record_files import read_record
from leakbench.results.run_folder import RunFolder
from leakbench.runner import run_log
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.errors import UsageError


def flip(path, position, bit):
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


@pytest.fixture
def run(leakbench, again):
    """run(*words): the finished run once more."""
    return lambda *words: leakbench("run", again.suite, "--out", again.out, "--workers", 1, *words)


def test_no_bit_of_a_record_can_be_turned_over_unseen(finished, tmp_path):
    """A random bit of each 60th byte: either the record cannot be read, or it says what it said."""
    path, draw = tmp_path / "one.json", random.Random(0)
    written = next((finished.out / "records").glob("baseline__pia__*"))
    record = read_record(written)
    for position in range(0, len(written.read_bytes()), 60):
        shutil.copy(written, path)
        flip(path, position, draw.randrange(8))
        try:
            assert read_record(path) == record
        except UsageError as error:
            assert str(path) in str(error) and "\n" not in str(error)


def test_no_bit_of_an_array_can_be_turned_over_unseen(finished, tmp_path):
    run = RunFolder(finished.out)
    record, draw = next(r for r in run.records if r.attack == "loss"), random.Random(0)
    (tmp_path / "arrays").mkdir()
    path = tmp_path / "arrays" / f"{record.stem}.npz"
    for position in range(0, (finished.out / "arrays" / path.name).stat().st_size, 50):
        shutil.copy(finished.out / "arrays" / path.name, path)
        flip(path, position, draw.randrange(8))
        with pytest.raises(UsageError, match="does not match the hash in its record"):
            RunFolder(tmp_path).arrays(record)


@pytest.mark.parametrize("kind", ["fits", "samples", "readers"])
def test_no_bit_of_an_artefact_can_be_turned_over_unseen(again, kind):
    """A few bits of each file, the manifest's own among them."""
    store, draw = ArtefactCache(again.cache, kind), random.Random(0)
    folder = next((again.cache / kind).iterdir())
    for path in folder.iterdir():
        whole = path.read_bytes()
        for _ in range(20):
            flip(path, draw.randrange(len(whole)), draw.randrange(8))
            if store.is_valid(folder.name):  # a space in the manifest, or the size that it notes beside the hash
                assert path.name == "manifest.json"
            path.write_bytes(whole)
        path.write_bytes(whole[: len(whole) // 2])
        assert not store.is_valid(folder.name)
        path.write_bytes(whole)
    assert store.is_valid(folder.name)


def test_a_number_that_a_disk_has_changed_is_made_again(run, again, finished):
    path = next((again.out / "records").glob("baseline__pia__DENOISER*"))
    text = path.read_text()
    value = next(metric["value"] for metric in json.loads(text)["metrics"] if metric["name"] == "auc")
    path.write_text(text.replace(str(value), str(value)[:-1] + ("1" if str(value)[-1] != "1" else "2"), 1))
    outcome = run()
    assert outcome.code == 0
    assert outcome.err == f"leakbench: damaged record {path}; making it again\n"
    assert (again.out / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()
    assert (again.out / "superseded" / "records" / path.name).is_file()


def test_reports_refuse_a_record_and_arrays_that_were_changed(leakbench, again):
    path = next((again.out / "arrays").glob("baseline__pia__DENOISER*"))
    flip(path, 40, 0)
    outcome = leakbench("report", again.out, "--format", "csv,md")
    assert outcome.code == 2 and outcome.err.startswith(f"leakbench: {path}: does not match the hash in its record")
    path = next((again.out / "records").glob("baseline__pia__DENOISER*"))
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    outcome = leakbench("report", again.out, "--format", "csv")
    assert outcome.code == 2 and f"{path}: not a record (it does not match its checksum" in outcome.err


def test_a_record_that_no_cell_makes_is_set_aside(run, again, finished):
    """Else every later command would stop at it, and say that it makes it again."""
    (again.out / "records" / "junk.json").write_text("{}")
    outcome = run()
    assert outcome.code == 0 and "junk.json" in outcome.err
    assert (run().code, run().err) == (0, "")
    assert (again.out / "superseded" / "records" / "junk.json").read_text() == "{}"
    assert (again.out / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()


@pytest.mark.parametrize("text", ["", "[1]"])
def test_a_damaged_history_costs_the_times_that_it_held_and_nothing_else(run, again, finished, text):
    (again.out / "history.json").write_text(text)
    next((again.out / "records").glob("baseline__pia__DENOISER*")).unlink()
    outcome = run()
    assert outcome.code == 0
    assert "history.json: damaged; the times of earlier commands are not known" in outcome.err
    assert (again.out / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()
    assert len(RunFolder(again.out).history) == 1


@pytest.mark.parametrize("text", ["", "3"])
def test_a_damaged_list_of_failures_is_one_line_and_counts_for_rerun_failed_alone(run, again, text):
    (again.out / "failures.json").write_text(text)
    outcome = run("--rerun", "failed")
    assert outcome.code == 2
    assert outcome.err.startswith(f"leakbench: {again.out / 'failures.json'}: damaged; without --rerun failed")
    assert run().code == 0


def test_the_plan_cut_short_is_one_line_and_a_new_folder_has_the_numbers(run, again, finished, tmp_path):
    plan = again.out / "plan.json"
    plan.write_bytes(plan.read_bytes()[:100])
    outcome = run()
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and f"{plan}: damaged" in outcome.err
    assert run("--out", tmp_path / "new").code == 0
    assert (tmp_path / "new" / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()


@pytest.mark.parametrize("row", ["{}", '{"command": 1}', '{"command": "c", "seconds": "x", "cells": 1, "workers": 1}'])
def test_rows_of_a_history_that_lack_something_are_none(tmp_path, row, capsys):
    (tmp_path / "history.json").write_text(f"[{row}]")
    assert RunFolder(tmp_path).history == []
    assert f"{tmp_path / 'history.json'}: damaged" in capsys.readouterr().err


def test_reports_that_a_killed_command_never_wrote_are_written_though_the_clock_was_set_back(run, again, monkeypatch):
    """Its records are older, by the clock, than the report of before."""
    next((again.out / "records").glob("baseline__pia__DENOISER*")).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(run_log, "FORMATS", ())
        patch.setattr("leakbench.runner.run.write_reports", lambda out: None)  # killed just before
        assert run().code == 0
    (again.out / "results.csv").unlink()
    for path in [again.out / "plan.json", *(again.out / "records").iterdir()]:
        os.utime(path, (1e9, 1e9))
    assert run().code == 0
    assert (again.out / "results.csv").is_file()
    before = (again.out / "results.csv").stat().st_mtime_ns
    assert run().code == 0  # nothing has changed: nothing is written
    assert (again.out / "results.csv").stat().st_mtime_ns == before

"""`leakbench.run`: what `leakbench run` does, in a script or a notebook, whose process it leaves as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch

import leakbench as lb
from leakbench.interface import run as module

BROKEN = """
from leakbench.api import Access, MembershipAttack
class Broken(MembershipAttack):
    name = "broken"
    summary = "raises"
    access = Access.DENOISER
    def score(self, view, images, labels):
        raise ZeroDivisionError("my attack is broken")
"""


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    from leakbench.runner import run_log

    monkeypatch.setattr(run_log, "FORMATS", ("csv",))


def written(*folders):
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*.*") if path.is_file()}


def test_a_finished_run_is_read_and_nothing_is_made_again_or_printed(again, finished, capsys):
    before = written(again.out / "records", again.out / "arrays", again.cache)
    results = lb.run(again.suite, out=again.out, workers=1)
    assert written(again.out / "records", again.out / "arrays", again.cache) == before
    assert results.path == again.out
    pd.testing.assert_frame_equal(results.table(), lb.load(finished.out).table())
    assert capsys.readouterr() == ("", "")
    command = json.loads((again.out / "plan.json").read_text())["command"]
    assert command == f"leakbench.run({str(again.suite)!r}, out={str(again.out)!r}, workers=1)"


def test_what_is_missing_is_made_with_the_numbers_of_the_command(again, finished):
    for path in (again.out / "records").glob("baseline__*"):
        path.unlink()
    results = lb.run(str(again.suite), out=str(again.out), workers=1)
    pd.testing.assert_frame_equal(results.table(), lb.load(finished.out).table())
    assert (again.out / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()
    (session,) = json.loads((again.out / "history.json").read_text())[1:]
    assert session["command"].startswith("leakbench.run(") and session["cells"] == 2


def test_inside_a_run_there_is_one_thread_and_afterwards_the_callers_own(again, monkeypatch):
    from threadpoolctl import threadpool_info

    seen = {}

    def spy(run, call):
        seen.update(torch=torch.get_num_threads(), variable=os.environ["OMP_NUM_THREADS"])
        seen["pools"] = {pool["num_threads"] for pool in threadpool_info()}

    monkeypatch.setattr(module, "execute", spy)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    threads, environment = torch.get_num_threads(), dict(os.environ)
    torch.set_num_threads(3)
    try:
        lb.run(again.suite, out=again.out)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert seen == {"torch": 1, "variable": "1", "pools": {1}}
    assert dict(os.environ) == environment


def test_failed_cells_are_an_exception_that_names_them_and_keeps_the_rest(again, finished, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    text = (
        again.suite.read_text()
        .replace('name = "pia"', 'name = "broken"')
        .replace('[[attack]]\nname = "nearest_copy"', "")
    )
    again.suite.write_text(text.replace("[0.25, 0.5]", "0.5"))
    with pytest.raises(lb.RunFailed) as caught:
        lb.run(again.suite, out=tmp_path / "new", plugins=tmp_path / "broken.py", workers=1)
    first, *lines = str(caught.value).splitlines()
    assert first == f"2 cells failed; what was finished is kept in {tmp_path / 'new'}"
    assert len(lines) == 2 and all("'broken': ZeroDivisionError: my attack is broken" in line for line in lines)
    assert set(caught.value.failures) == {"audit baseline seed 0", "audit cpsample seed 0"}
    kept, whole = caught.value.results, lb.load(finished.out)
    assert kept.metric("baseline", "loss", "auc") == whole.metric("baseline", "loss", "auc")


WRONG = {
    "suite": (("quikc",), {}, ["unknown suite 'quikc'", "did you mean 'quick'?"]),
    "device": (("quick",), {"device": "gpu"}, ["device = 'gpu'", "did you mean 'cpu'?"]),
    "executor": (("quick",), {"executor": "slurm"}, ["executor = 'slurm'", "local", "ray"]),
    "rerun": (("quick",), {"rerun": "al"}, ["rerun = 'al'", "did you mean 'all'?"]),
    "workers": (("quick",), {"workers": 0}, ["workers = 0", "from 1 up"]),
    "budget": (("quick",), {"budget": "an hour"}, ["budget = 'an hour'", "from 0.1 up"]),
    "settings": (("quick",), {"settings": {"split.member": 3}}, ["'split.member'", "did you mean 'members'?"]),
    "plugins": (("quick",), {"plugins": "no.py"}, ["no.py", "no such file"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_one_line_and_writes_nothing(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, more, words = WRONG[case]
    with pytest.raises(lb.UsageError) as caught:
        lb.run(*arguments, **more)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_script_needs_no_guard_against_its_workers(again, finished, tmp_path):
    for path in (again.out / "records").glob("*__loss__*"):
        path.unlink()
    script = f"""
import leakbench
from leakbench.runner import run_log
print("started")
run_log.FORMATS = ("csv",)  # figures take seconds
results = leakbench.run({str(again.suite)!r}, out={str(again.out)!r}, workers=2)
print(results.metric("baseline", "loss", "auc").value)
"""
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    said = [line for line in done.stderr.splitlines() if not line.endswith("so far)")]  # progress, on a busy machine
    assert (done.returncode, said) == (0, [])
    lines = done.stdout.splitlines()
    assert lines.count("started") == 1
    assert float(lines[-1]) == lb.load(finished.out).metric("baseline", "loss", "auc").value

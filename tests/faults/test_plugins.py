"""Plugins that misbehave: what they break is named in a line, and nothing else is lost."""

from __future__ import annotations

import contextlib
import threading
import time
from types import SimpleNamespace

import pytest

from leakbench.interface.run import run as run_suite
from leakbench.results.run_folder import RunFolder
from leakbench.runner.cell import Cell
from leakbench.runner.executors import ray_task
from leakbench.runner.executors.local import LocalExecutor
from leakbench.runner.executors.time_limit import CellTimeout, limit_time
from leakbench.runtime.errors import UsageError

PLUGIN = """
import os, pathlib, time
import torch
from leakbench.api import Access, MembershipAttack
class Odd(MembershipAttack):
    name = "odd"
    summary = "misbehaves"
    access = Access.DENOISER
    def score(self, view, images, labels):
        fair = -view.eps(images, 5).flatten(1).norm(dim=1)
        {body}
"""
SHAPES = {
    "too few": ("return fair[:-1]", "ValueError: score() answered with shape (63,); it must be (64,), one an image"),
    "a column": ("return fair[:, None]", "ValueError: score() answered with shape (64, 1); it must be (64,)"),
    "None": ("return None", "TypeError: the attack answered NoneType; it must be a tensor"),
}


@pytest.fixture
def run(leakbench, again, tmp_path):
    """run(body, *words): the finished run, to which an attack with this body is added."""
    again.suite.write_text(again.suite.read_text() + '\n[[attack]]\nname = "odd"\n')

    def call(body, *words):
        (tmp_path / "odd.py").write_text(PLUGIN.format(body=body))
        return leakbench(
            "run", again.suite, "--out", again.out, "--workers", 1, "--plugin", tmp_path / "odd.py", *words
        )

    return call


def check_others_stayed(again, finished):
    mine = {record.stem: record.digest for record in RunFolder(again.out).records if record.attack != "odd"}
    assert mine == {record.stem: record.digest for record in RunFolder(finished.out).records}


def lines_of(outcome):
    """What failed, a line each."""
    assert outcome.code == 1 and "Traceback" not in outcome.err
    return [line for line in outcome.err.splitlines() if line.startswith("leakbench: failed: ")]


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_of_a_wrong_shape_are_named(run, again, finished, shape):
    lines = lines_of(run(SHAPES[shape][0]))
    assert len(lines) == 3 and all(f"attack 'odd': {SHAPES[shape][1]}" in line for line in lines), lines
    assert not any(record.attack == "odd" for record in RunFolder(again.out).records)
    check_others_stayed(again, finished)


def test_scores_that_are_no_numbers_are_flagged_and_the_cell_fails(run, again, finished):
    lines = lines_of(run("return fair * float('nan')"))
    assert len(lines) == 3 and all("'odd' at DENOISER: some score was NaN or infinite" in line for line in lines)
    check_others_stayed(again, finished)
    assert run("return fair").code == 0
    check_others_stayed(again, finished)


@pytest.mark.parametrize("hang", ["time.sleep(60)", "while True: pass"])
def test_an_attack_that_hangs_is_interrupted_and_what_hangs_is_named(run, again, finished, hang):
    began = time.monotonic()
    lines = lines_of(run(f"if images.shape[0]: {hang}" if "while" not in hang else hang, "--cell-limit", 0.02))
    assert time.monotonic() - began < 40
    assert len(lines) == 3
    assert all("CellTimeout: took longer than the 0.02 minutes of --cell-limit (it was in " in line for line in lines)
    assert all(".Odd.score, line 11)" in line for line in lines), lines
    check_others_stayed(again, finished)
    assert run("return fair", "--cell-limit", 5).code == 0
    check_others_stayed(again, finished)


def test_an_attack_that_writes_into_the_run_folder_costs_one_more_command(run, again, finished):
    """It leaves rubbish among the records, writes into one of another attack, and cuts off its arrays."""
    folder = str(again.out)
    body = f"""
        other = next(pathlib.Path({folder!r}, "records").glob("baseline__pia__DENOISER*"))
        other.write_text(other.read_text().replace('"seed": 0', '"seed": 7'))
        pathlib.Path({folder!r}, "records", "mine.json").write_text("rubbish")
        pathlib.Path({folder!r}, "arrays", other.stem + ".npz").write_bytes(b"")
        return fair"""
    outcome = run(body)
    assert outcome.code == 2 and "Traceback" not in outcome.err
    assert outcome.err.splitlines()[-1].endswith("the same `leakbench run` command makes it again")
    outcome = run("return fair")
    assert outcome.code == 0, outcome.err
    check_others_stayed(again, finished)


def test_memory_that_runs_out_in_an_attack_is_one_line_that_says_what_needs_less(run, again, finished):
    lines = lines_of(run("return torch.empty(2**50)"))
    assert len(lines) == 3
    assert all("allocate memory" in line and "fewer --workers, and smaller batches" in line for line in lines), lines
    check_others_stayed(again, finished)


# The limit itself ----------------------------------------------------------------------------------------------------


def test_what_is_done_in_time_is_left_alone():
    with limit_time(None):
        pass
    with limit_time(1.0):
        done = sum(range(1000))
    assert done == 499500


def test_code_that_swallows_exceptions_is_interrupted_all_the_same():
    with (
        pytest.raises(CellTimeout, match=r"0\.002 minutes of --cell-limit \(it was in .*line \d+\)"),
        limit_time(0.002),
    ):
        while True:
            with contextlib.suppress(Exception):
                time.sleep(10)


def test_a_worker_that_cannot_be_interrupted_ends_the_run_in_a_line_that_names_the_cell():
    """It hangs in a call of a library that never returns, where no signal is answered."""
    config = SimpleNamespace(cell_limit=0.5)
    plan = SimpleNamespace(builder=SimpleNamespace(inputs=SimpleNamespace(config=config)))
    executor, cell = LocalExecutor(plan, 2, lambda name, share: None), Cell("a", "audit", "baseline, seed 0")
    executor._check_answers([cell], {"a": time.monotonic() - 100})
    with pytest.raises(
        ChildProcessError, match=r"baseline, seed 0: took longer than the 0\.5 minutes of --cell-limit, and"
    ):
        executor._check_answers([cell], {"a": time.monotonic() - 200})


def test_in_a_thread_one_worker_cannot_keep_a_limit_and_says_so(leakbench, again):
    next((again.out / "records").glob("baseline__pia__DENOISER*")).unlink()
    found = []

    def call():
        try:
            run_suite(str(again.suite), out=str(again.out), workers=1, cell_limit=1.0)
        except UsageError as error:
            found.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert found == ["cell_limit: one worker needs the main thread to interrupt a cell; give workers=2"]


def test_a_cell_that_hangs_on_a_node_is_reported_and_its_process_ends(monkeypatch):
    ended = []
    monkeypatch.setattr(ray_task, "_do_cell", lambda *_: time.sleep(1.0))
    monkeypatch.setattr(ray_task, "_end_process", lambda: ended.append(True))
    setup = ray_task.RunSetup("run", (), b"", None, None, {}, {}, cell_limit=0.001)
    (last,) = ray_task.do_cell(setup, b"")
    assert isinstance(last.error, CellTimeout) and ended == [True]

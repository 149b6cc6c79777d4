"""Two commands on one folder: one at a time works in it, and none leaves a lock behind."""

from __future__ import annotations

import errno
import os
import signal

import pytest
from filelock import FileLock

from leakbench.results.run_folder import RunFolder
from leakbench.runner.run_lock import LOCK, lock_run
from leakbench.runtime.errors import UsageError

HOLDER = """
import sys, time
from pathlib import Path
from leakbench.runner.run_lock import lock_run
with lock_run(Path({out!r}), "leakbench run tiny"):
    Path({out!r}, "held").touch()
    time.sleep(60)
"""


@pytest.fixture
def holder(forkserver, tmp_path):
    """A process that holds the lock of tmp_path/run."""
    out = tmp_path / "run"
    out.mkdir(exist_ok=True)
    process = forkserver.Process(target=exec, args=(HOLDER.format(out=str(out)),))
    process.start()
    while not (out / "held").exists():
        assert process.is_alive()
    yield process
    process.kill()
    process.join()


def test_the_second_says_which_process_holds_the_folder_and_changes_nothing(leakbench, again, holder):
    before = {path: path.read_bytes() for path in again.out.rglob("*") if path.is_file()}
    outcome = leakbench("run", again.suite, "--out", again.out, "--workers", 1)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert f"{again.out}: process {holder.pid} on {os.uname().nodename} (`leakbench run tiny`, since " in line
    assert line.endswith("works in this folder now; wait until it is done, or give another --out")
    assert {path: path.read_bytes() for path in again.out.rglob("*") if path.is_file()} == before


def test_to_look_at_a_folder_that_is_worked_in_is_allowed(leakbench, again, holder):
    assert leakbench("run", again.suite, "--out", again.out, "--plan").code == 0
    assert leakbench("report", again.out, "--format", "csv").code == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_process_that_was_killed_is_taken_over(leakbench, again, holder, number):
    os.kill(holder.pid, number)
    holder.join()
    assert (again.out / LOCK).read_text()  # its note is still there
    outcome = leakbench("run", again.suite, "--out", again.out, "--workers", 1)
    assert (outcome.code, outcome.err) == (0, "")


def test_what_was_planned_before_another_command_wrote_is_given_again(leakbench, again, finished, monkeypatch):
    """The other command ends between plan and lock: its attack would drop out of the plan."""
    from leakbench.runner import run as module

    def late(*words):
        next((again.out / "records").glob("*.json")).unlink()
        return lock_run(*words)

    plan = (again.out / "plan.json").read_bytes()
    monkeypatch.setattr(module, "lock_run", late)
    outcome = leakbench("run", again.suite, "--out", again.out, "--workers", 1)
    assert outcome.code == 2
    assert outcome.err == (
        f"leakbench: {again.out}: another command wrote into it while this one was planned: give it again\n"
    )
    assert (again.out / "plan.json").read_bytes() == plan
    monkeypatch.undo()
    monkeypatch.setenv("LEAKBENCH_CACHE", str(again.cache))
    assert leakbench("run", again.suite, "--out", again.out, "--workers", 1).code == 0
    assert (again.out / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()


def test_a_process_holds_its_own_lock_once(tmp_path):
    with (
        lock_run(tmp_path, "leakbench.run('quick', out='it''s')"),
        pytest.raises(UsageError, match=rf"process {os.getpid()} .*leakbench\.run\("),
        lock_run(tmp_path, "leakbench.run('quick')"),
    ):
        pass
    with lock_run(tmp_path, "leakbench.run('quick')"):
        pass


def test_a_note_that_cannot_be_read_still_refuses(tmp_path):
    with lock_run(tmp_path, "leakbench run quick"):
        (tmp_path / LOCK).write_text("{")
        with pytest.raises(UsageError, match="another command works in this folder"), lock_run(tmp_path, "two"):
            pass


def test_a_file_system_without_locks_is_said_in_a_line(tmp_path, monkeypatch, capsys):
    def none(self):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", none)
    with lock_run(tmp_path, "leakbench run quick"):
        pass
    assert capsys.readouterr().err == (
        f"leakbench: {tmp_path}: no locks on this file system: start no second run here\n"
    )


def test_what_a_killed_process_had_begun_to_write_is_swept_away(leakbench, again):
    left = [again.out / kind / f".{name}.12345.tmp" for kind, name in (("records", "a.json"), ("arrays", "a.npz"))]
    for path in left:
        path.write_bytes(b"half")
    assert leakbench("run", again.suite, "--out", again.out, "--workers", 1).code == 0
    assert not any(path.exists() for path in left)
    assert len(RunFolder(again.out).records) == 18

"""A run that is killed, or whose disk fills up, is finished by the next one, which repeats nothing that was done."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

LIMIT = 60.0  # seconds that any of these waits may take


def until(condition, what):
    """Poll until the condition holds; returns its value."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {LIMIT:.0f} s for {what}")


def children(pid):
    """Process ids of all descendants, from /proc."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *children(child)]
    return found


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def done_in(home):
    """What is finished: whole artefacts and records, with the time they were written."""
    records = [path for path in home.glob("run/records/*.json") if path.name[0] != "."]
    arrays = [home / "run" / "arrays" / f"{path.stem}.npz" for path in records]
    artefacts = [path for path in home.glob("cache/*/*/manifest.json") if path.parent.name[0] != "."]
    return {path: path.stat().st_mtime_ns for path in [*artefacts, *records, *arrays]}


@pytest.fixture
def check_resumed(leakbench, tmp_path, tiny, finished):
    """check_resumed(): the run is finished, by one worker since their number changes nothing, and repeats nothing."""

    def check():
        before = done_in(tmp_path)
        outcome = leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1)
        assert (outcome.code, outcome.err) == (0, "")
        after = done_in(tmp_path)
        assert {path: after[path] for path in before} == before
        assert (tmp_path / "run" / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()
        return len(before), len(after)

    return check


MOMENTS = [
    ("cache/readers/.*", 1),
    ("cache/fits/*/manifest.json", 1),
    ("cache/samples/*/manifest.json", 1),
    ("run/records/*.json", 1),
    ("run/records/*.json", 7),
    ("run/records/*.json", 15),
]


@pytest.mark.parametrize("pattern, count", MOMENTS)
def test_after_a_kill_the_next_run_finishes_and_repeats_nothing(
    forkserver, tmp_path, tiny, finished, check_resumed, pattern, count
):
    if "readers" not in pattern:  # it takes the longest
        shutil.copytree(finished.cache / "readers", tmp_path / "cache" / "readers")
    words = ["leakbench", "run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "1"]
    code = f"""
import os, sys
os.environ["LEAKBENCH_CACHE"] = {str(tmp_path / "cache")!r}
sys.argv, sys.stdout = {words!r}, open(os.devnull, "w")
from leakbench.cli import main
main()
"""
    process = forkserver.Process(target=exec, args=(code,))
    process.start()
    until(lambda: len(list(tmp_path.glob(pattern))) >= count or not process.is_alive(), pattern)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "run" / "results.csv").exists()
    done, total = check_resumed()
    assert done < total


@pytest.mark.slow
def test_a_kill_leaves_no_orphaned_worker_and_the_next_run_finishes(tmp_path, tiny, finished, check_resumed):
    shutil.copytree(finished.cache / "readers", tmp_path / "cache" / "readers")
    words = ["run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "2"]
    process = subprocess.Popen([sys.executable, "-m", "leakbench.cli", *words], stdout=subprocess.DEVNULL)
    until(lambda: list(tmp_path.glob("run/records/*.json")) or process.poll() is not None, "a record")
    workers = children(process.pid)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert len(workers) >= 2
    began = time.monotonic()
    until(lambda: not any(running(pid) for pid in workers), "orphaned workers to stop")
    assert time.monotonic() - began < 5.0
    check_resumed()


@pytest.mark.slow
def test_ctrl_c_is_one_line_at_any_moment_and_the_next_run_finishes(tmp_path, tiny, finished, check_resumed):
    """A terminal sends it to the whole group: the workers, still importing, leave the answer to their parent."""
    shutil.copytree(finished.cache / "readers", tmp_path / "cache" / "readers")
    words = ["run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "leakbench.cli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: len(children(process.pid)) >= 3 or process.poll() is not None, "workers (and a tracker) to start")
    time.sleep(0.5)
    workers = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    err = process.communicate(timeout=LIMIT)[1]
    assert process.returncode == 130
    assert err == "leakbench: interrupted; what was finished is kept: run the same command to go on\n"
    until(lambda: not any(running(pid) for pid in workers), "workers to stop")
    check_resumed()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 KiB: training fits in, the records do not."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # now and then still busy: not found by what


def check_one_clear_line(outcome):
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("leakbench: ")
    assert "what was finished is kept: run the same command to go on" in outcome.err


def test_a_worker_that_was_killed_is_one_clear_line(leakbench, again, monkeypatch):
    from leakbench.runner.executors.local import LocalExecutor

    def run(executor):
        cell = Future()
        cell.set_exception(BrokenProcessPool())
        executor._finish(None, cell)

    monkeypatch.setattr(LocalExecutor, "_run", run)
    outcome = leakbench("run", again.suite, "--out", again.out, "--workers", 1)
    check_one_clear_line(outcome)
    assert "a worker process was killed (out of memory?)" in outcome.err


@pytest.mark.slow
def test_a_full_disk_is_one_clear_line_and_the_same_command_goes_on_once_there_is_room(
    leakbench, tiny, small_disk, finished, monkeypatch
):
    monkeypatch.setenv("LEAKBENCH_CACHE", str(small_disk / "cache"))
    command = ("run", tiny, "--out", small_disk / "run", "--workers")
    outcome = leakbench(*command, 2)
    check_one_clear_line(outcome)
    assert "the disk is full" in outcome.err
    before = {path: path.stat().st_mtime_ns for path in small_disk.glob("cache/fits/*/manifest.json")}
    assert before
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert leakbench(*command, 1).code == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (small_disk / "run" / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()


@pytest.mark.parametrize("pages", [8, 24, 40, 60])
def test_wherever_the_disk_fills_up_there_is_one_clear_line(leakbench, again, pages):
    # A limit on the size of files stands in for the disk: it works without mounting, and stops at another place each.
    for path in (again.out / "records").iterdir():
        path.unlink()
    shutil.rmtree(again.cache / "samples")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (pages * 128, old[1]))
        outcome = leakbench("run", again.suite, "--out", again.out, "--workers", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    check_one_clear_line(outcome)
    assert leakbench("run", again.suite, "--out", again.out, "--workers", 1).code == 0

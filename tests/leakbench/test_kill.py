"""A run that is killed, or whose disk fills up, is finished by the next one, which repeats nothing that was done."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
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
    files = [*home.glob("cache/*/*/manifest.json"), *home.glob("run/records/*.json"), *home.glob("run/arrays/*.npz")]
    return {path: path.stat().st_mtime_ns for path in files if not path.parent.name.startswith(".") and path.name[0] != "."}


@pytest.fixture
def command(tmp_path, tiny):
    return [sys.executable, "-m", "leakbench.cli", "run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "2"]


@pytest.fixture
def figureless(leakbench, tmp_path, tiny):
    """Finishes the run in this process, with one worker, since their number changes nothing."""
    return lambda: leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [("cache/fits/*/manifest.json", 1), ("run/records/*.json", 1), ("run/records/*.json", 9)])
def test_after_a_kill_the_next_run_finishes_and_repeats_nothing(command, figureless, tmp_path, finished, moment):
    pattern, count = moment
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: len(list(tmp_path.glob(pattern))) >= count, moment)
    workers = children(process.pid)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert len(workers) >= 2
    began = time.monotonic()
    until(lambda: not any(running(pid) for pid in workers), "orphaned workers to stop")
    assert time.monotonic() - began < 5.0
    assert not (tmp_path / "run" / "results.csv").exists()
    before = done_in(tmp_path)
    outcome = figureless()
    assert (outcome.code, outcome.err) == (0, "")
    after = done_in(tmp_path)
    assert len(after) > len(before) >= count
    assert {path: after[path] for path in before} == before
    assert (tmp_path / "run" / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 700 KiB: training fits in, the samples' records do not."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def check_one_clear_line(outcome):
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("leakbench: ")
    assert "what was finished is kept: run the same command to go on" in outcome.err


def test_a_full_disk_is_one_clear_line_and_the_same_command_goes_on_once_there_is_room(
    leakbench, tiny, small_disk, finished, monkeypatch
):
    monkeypatch.setenv("LEAKBENCH_CACHE", str(small_disk / "cache"))
    command = ("run", tiny, "--out", small_disk / "run", "--workers", 1)
    outcome = leakbench(*command)
    check_one_clear_line(outcome)
    assert "disk is full" in outcome.err
    assert list(small_disk.glob("cache/fits/*/manifest.json"))
    before = {path: path.stat().st_mtime_ns for path in small_disk.glob("cache/fits/*/manifest.json")}
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert leakbench(*command).code == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (small_disk / "run" / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()


@pytest.mark.slow
def test_a_full_disk_on_workers_is_one_clear_line_as_well(shell, tiny, small_disk):
    outcome = shell("run", tiny, "--out", small_disk / "run", "--workers", 2, LEAKBENCH_CACHE=str(small_disk / "cache"))
    check_one_clear_line(outcome)


@pytest.mark.parametrize("pages", [8, 24, 40, 60])
def test_wherever_the_disk_fills_up_there_is_one_clear_line(leakbench, again, tmp_path, pages):
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
    assert os.listdir(tmp_path)
    assert leakbench("run", again.suite, "--out", again.out, "--workers", 1).code == 0

"""Scratch folders: gone with their process, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from leakbench.runtime import scratch

SCRIPT = """
import os, signal, sys, time
from leakbench.runtime.scratch import make_scratch, remove_scratch
folder = make_scratch()
(folder / "records").mkdir()
print(folder, flush=True)
if sys.argv[1] == "raise":
    raise ZeroDivisionError
if sys.argv[1] == "exit":
    remove_scratch()
    os._exit(1)
if sys.argv[1] == "wait":
    time.sleep(60)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files of this test, and of the processes that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    scratch.remove_scratch()


def left(temporary):
    return [path for path in temporary.iterdir() if path.name.startswith("leakbench-")]


@pytest.mark.parametrize("end", ["normally", "raise", "exit"])
def test_an_end_leaves_nothing(temporary, end):
    done = subprocess.run([sys.executable, "-c", SCRIPT, end], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(str(temporary)) and left(temporary) == []


def test_what_a_killed_process_left_goes_with_the_next_and_what_a_living_one_has_stays(temporary, monkeypatch):
    first, second = (
        subprocess.Popen([sys.executable, "-c", SCRIPT, "wait"], stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    killed, living = (process.stdout.readline().strip() for process in (first, second))
    first.send_signal(signal.SIGKILL)
    first.wait()
    old = time.time() - 3600
    for folder in (killed, living):
        os.utime(folder, (old, old))
    foreign = temporary / "leakbench-scratch-mine"  # a folder of somebody's, without a lock
    foreign.mkdir()
    os.utime(foreign, (old, old))
    own = scratch.make_scratch()
    assert sorted(map(str, left(temporary))) == sorted([living, str(foreign), str(own)])
    second.terminate()
    second.wait()
    first.stdout.close(), second.stdout.close()


TIDY = """
import tempfile, time
from leakbench.cli import command_line
def app(standalone_mode):  # a command in the middle of its work
    with tempfile.TemporaryDirectory(prefix="leakbench-submission-") as folder:
        print(folder, flush=True)
        time.sleep(60)
command_line.app = app
command_line.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_command_that_is_stopped_removes_its_temporary_folders(temporary, number, code):
    process = subprocess.Popen([sys.executable, "-c", TIDY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process.stdout, process.stderr:
        assert process.stdout.readline().startswith(str(temporary))
        process.send_signal(number)
        assert process.wait(30) == code
        if number == signal.SIGTERM:  # Ctrl-C is answered by the real app
            assert process.stderr.read() == "leakbench: terminated\n"
    assert left(temporary) == []

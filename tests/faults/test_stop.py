"""Commands stopped at any moment, and machines that run out of something: nothing that was finished is lost."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest
import torch

from leakbench.results.run_folder import RunFolder
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.errors import is_out_of_memory

LIMIT = 120.0  # seconds that a command may take
MANY = min(50, int(os.environ.get("LEAKBENCH_FUZZ_CASES", "50")))  # moments
KEPT = "what was finished is kept: run the same command to go on\n"

COMMAND = """
import os, sys
os.environ["LEAKBENCH_CACHE"] = {cache!r}
sys.argv, sys.stdout, sys.stderr = {words!r}, open(os.devnull, "w"), open({err!r}, "w", buffering=1)
from leakbench.runner import run_log
run_log.FORMATS = ("csv",)
from leakbench.cli import main
main()
"""


class Victim:
    """A command on a folder and a cache of its own, started again and again in the same place."""

    def __init__(self, forkserver, home, suite):
        self.forkserver, self.home, self.suite = forkserver, home, suite
        self.err = home / "err"

    def start(self):
        words = ["leakbench", "run", str(self.suite), "--out", str(self.home / "run"), "--workers", "1"]
        code = COMMAND.format(cache=str(self.home / "cache"), words=words, err=str(self.err))
        process = self.forkserver.Process(target=exec, args=(code, {}))
        process.start()
        return process

    def time_whole(self):
        """Seconds that the command takes when nobody stops it."""
        began, process = time.monotonic(), self.start()
        process.join(LIMIT)
        assert process.exitcode == 0, self.err.read_text()
        return time.monotonic() - began

    def wipe(self, finished):
        """Begin anew, but for the classifier, which takes the longest."""
        shutil.rmtree(self.home / "run", ignore_errors=True)
        shutil.rmtree(self.home / "cache", ignore_errors=True)
        shutil.copytree(finished.cache / "readers", self.home / "cache" / "readers")

    def whole_files(self):
        """What is finished, all of it read and compared with its hashes, with the time it was written."""
        found = {}
        run, cache = self.home / "run", self.home / "cache"
        if (run / "plan.json").is_file():
            for record in RunFolder(run).records:
                RunFolder(run).arrays(record)
                path = run / "records" / f"{record.stem}.json"
                found[path] = path.stat().st_mtime_ns
        for folder in cache.glob("*/*/manifest.json"):
            if folder.parent.name[0] != ".":
                kind, key = folder.parts[-3:-1]
                assert ArtefactCache(cache, kind).is_valid(key), folder
                found[folder] = folder.stat().st_mtime_ns
        return found


def stop_again_and_again(victim, finished, number, moments):
    """Start the command, stop it at a random moment, and look; when one goes through, compare and begin anew."""
    draw = random.Random(int(number))
    victim.wipe(finished)
    longest, stopped, done, starts = 4.0 if moments < 10 else victim.time_whole(), 0, 0, 0
    victim.wipe(finished)
    while stopped < moments:
        starts += 1
        assert starts < 5 * moments + 20
        before, began, process = victim.whole_files(), time.monotonic(), victim.start()
        process.join(draw.uniform(0.0, longest))
        with contextlib.suppress(ProcessLookupError):  # it went through
            os.kill(process.pid, number)
        process.join(LIMIT)
        after = victim.whole_files()
        assert before.items() <= after.items()  # nothing is lost, and nothing is made twice
        assert "Traceback" not in victim.err.read_text() and victim.err.read_text().count("\n") <= 1
        if process.exitcode == 0:
            results = (victim.home / "run" / "results.csv").read_bytes()
            assert results == (finished.out / "results.csv").read_bytes()
            done, longest = done + 1, min(longest, time.monotonic() - began)  # of a machine that others use too
            victim.wipe(finished)
            continue
        assert process.exitcode in {-number, 128 + number}
        if process.exitcode > 0:
            early = "leakbench: terminated\n"  # before the command had begun
            assert victim.err.read_text() in {early, f"leakbench: terminated; {KEPT}"}
        stopped += 1
        print(f"{stopped}: {len(after)} files are whole, {len(before)} before")
    victim.time_whole()
    assert (victim.home / "run" / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()
    print(f"{signal.Signals(number).name}: {stopped} stopped, {done} whole before the last, {longest:.1f} s each")


@pytest.fixture
def victim(forkserver, tmp_path, tiny, finished):
    home = tmp_path / "home"
    home.mkdir()
    return Victim(forkserver, home, tiny)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(
    "moments", [2, pytest.param(MANY, marks=[pytest.mark.fuzz, pytest.mark.slow])], ids=["few", "many"]
)
def test_a_command_that_is_stopped_at_random_moments_loses_nothing(victim, finished, number, moments):
    stop_again_and_again(victim, finished, number, moments)


@pytest.mark.parametrize("where", ["planning", "at work"])
@pytest.mark.parametrize(
    "number, code, word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_ctrl_c_and_sigterm_are_one_line(leakbench, again, finished, monkeypatch, where, number, code, word):
    def stop(*_, **__):
        os.kill(os.getpid(), number)
        time.sleep(10)

    path = next((again.out / "records").glob("baseline__pia__DENOISER*"))
    path.unlink()
    before = {one: one.read_bytes() for one in (again.out / "records").iterdir()}
    with monkeypatch.context() as patch:
        target = (
            "leakbench.runner.run.RunInputs" if where == "planning" else "leakbench.runner.executors.worker.Worker._do"
        )
        patch.setattr(target, stop)
        outcome = leakbench("run", again.suite, "--out", again.out, "--workers", 1)
    assert (outcome.code, outcome.err) == (code, f"leakbench: {word}; {KEPT}")
    assert {one: one.read_bytes() for one in (again.out / "records").iterdir()} == before
    assert leakbench("run", again.suite, "--out", again.out, "--workers", 1).code == 0
    assert (again.out / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()


# What runs out -------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_when_reports_are_written_is_one_line(leakbench, again, finished):
    """Every record is there; the tables do not fit."""
    (again.out / ".reported").unlink()
    (again.out / "results.csv").unlink()
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    plan = (again.out / "plan.json").stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (plan + 100, old[1]))
        outcome = leakbench("run", again.suite, "--out", again.out, "--workers", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert outcome.code == 1 and outcome.err.count("\n") == 1 and outcome.err.endswith(KEPT), outcome.err
    assert leakbench("run", again.suite, "--out", again.out, "--workers", 1).code == 0
    assert (again.out / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()


@pytest.fixture
def read_only(tmp_path):
    """read_only(folder): nothing can be written there, by root neither."""
    bound = []

    def bind(folder):
        mount = ["mount", "--bind", "-o", "ro", str(folder), str(folder)]
        if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting a folder read-only is not permitted here")
        bound.append(folder)

    yield bind
    for folder in bound:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("which", ["run", "cache", "records"])
def test_a_read_only_folder_is_one_line_that_names_it(leakbench, again, read_only, which):
    next((again.out / "records").glob("baseline__pia__DENOISER*")).unlink()
    folder = {"run": again.out, "cache": again.cache, "records": again.out / "records"}[which]
    read_only(folder)
    outcome = leakbench("run", again.suite, "--out", again.out, "--workers", 1)
    assert outcome.code in (1, 2) and outcome.err.count("\n") == 1, outcome.err
    assert str(folder) in outcome.err and "Read-only file system" in outcome.err


def test_reports_of_a_read_only_folder_are_one_line(leakbench, again, read_only):
    read_only(again.out)
    outcome = leakbench("report", again.out, "--format", "csv")
    assert outcome.code in (1, 2) and outcome.err.count("\n") == 1 and "Read-only file system" in outcome.err


def test_memory_that_runs_out_while_data_are_read_is_one_line(leakbench, again, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("leakbench.runner.run.RunInputs", full)
    outcome = leakbench("run", again.suite, "--out", again.out)
    assert (outcome.code, outcome.err) == (1, f"leakbench: MemoryError; {KEPT}")


def test_errors_of_memory_are_known_however_they_are_told():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert is_out_of_memory(RuntimeError("attack 'loss': OutOfMemoryError: CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


@pytest.mark.slow
def test_a_worker_that_is_killed_for_real_is_one_line_and_the_next_command_goes_on(
    leakbench, again, finished, tmp_path
):
    """The kernel's way with a process that takes too much memory."""
    again.suite.write_text(again.suite.read_text() + '\n[[attack]]\nname = "odd"\n')
    plugin = """
import os, pathlib, signal
from leakbench.api import Access, MembershipAttack
class Odd(MembershipAttack):
    name = "odd"
    summary = "takes all memory, once"
    access = Access.DENOISER
    def score(self, view, images, labels):
        if not pathlib.Path({once!r}).exists():
            pathlib.Path({once!r}).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return -view.eps(images, 5).flatten(1).norm(dim=1)
"""
    (tmp_path / "odd.py").write_text(plugin.format(once=str(tmp_path / "once")))
    words = ("run", again.suite, "--out", again.out, "--plugin", tmp_path / "odd.py", "--workers")
    outcome = leakbench(*words, 2)
    assert outcome.code == 1 and "Traceback" not in outcome.err
    assert outcome.err.splitlines()[-1] == (
        "leakbench: a worker process was killed (out of memory?); fewer --workers, and smaller batches, need less "
        f"memory; {KEPT.strip()}"
    )
    assert leakbench(*words, 1).code == 0
    mine = {record.stem: record.digest for record in RunFolder(again.out).records if record.attack != "odd"}
    assert mine == {record.stem: record.digest for record in RunFolder(finished.out).records}

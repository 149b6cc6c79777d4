"""`leakbench clean`: a dry run by default, by age and size, and nothing that is not leakbench's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from leakbench.cli.quantities import format_size, parse_age, parse_size
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.keys import compute_key
from leakbench.runtime.cache.use import last_use
from leakbench.runtime.errors import UsageError

DAY = 86_400.0


@pytest.fixture
def put(cache):
    """put(kind, name, bytes, days): an artefact of so many bytes that was last used so many days ago. Returns its
    folder."""

    def make(kind, name, count, days):
        store = ArtefactCache(cache, kind, url="")
        folder = store.write(compute_key(name=name), lambda path: (path / "data").write_bytes(bytes(count)) and None)
        age(folder, days)
        return folder

    return make


def age(path, days):
    then = time.time() - days * DAY
    os.utime(path, (then, then))


@pytest.fixture
def clean(leakbench):
    def run(*words):
        outcome = leakbench("clean", *words)
        assert (outcome.code, outcome.err) == (0, "")
        return outcome.out

    return run


def test_nothing_goes_without_yes_and_with_it_only_what_is_old(clean, put, cache):
    old, young = put("fits", "old", 5000, 40), put("samples", "young", 3000, 2)
    out = clean("--older-than", "30d")
    assert "would remove 5.1 KB in 1 folders; --yes does it" in out and old.is_dir()
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert rows["networks"] == ["1", "5.1", "KB", "5.1", "KB"] and rows["samples"] == ["1", "3.1", "KB"]
    assert "removed 5.1 KB in 1 folders" in clean("--older-than", "30d", "--yes")
    assert not old.exists() and young.is_dir()
    assert [path.name for path in (cache / "fits").iterdir()] == []
    assert "nothing to remove" in clean("--older-than", "30d", "--yes")
    assert "--older-than or --keep say what may go" in clean("--yes") and young.is_dir()


def test_by_size_the_least_recently_used_goes_first(clean, put, cache):
    folders = [put(kind, "one", 4000, days) for kind, days in (("fits", 3), ("samples", 9), ("readers", 6))]
    clean("--keep", "9KB", "--yes")
    assert [folder.exists() for folder in folders] == [True, False, True]
    clean("--keep", "0", "--yes")
    assert not any(folder.exists() for folder in folders)
    assert not [*(cache / "used").glob("*")]


def test_what_a_run_uses_counts_as_used_now_and_what_is_asked_about_does_not(put, cache):
    folder = put("fits", "network", 10, 40)
    store = ArtefactCache(cache, "fits", url="")
    assert store.is_valid(folder.name) and store.exists(folder.name)
    assert time.time() - last_use(folder) > 39 * DAY
    assert store.get_valid(folder.name) == folder
    assert time.time() - last_use(folder) < 60
    assert time.time() - folder.stat().st_mtime > 39 * DAY  # the artefact is as it was written


def test_only_what_leakbench_made_is_touched(clean, put, cache, tmp_path):
    folder, mixed = put("fits", "network", 10, 40), put("fits", "mixed", 10, 40)
    (mixed / "notes.txt").write_text("mine")
    age(mixed, 40)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("mine")
    (cache / "fits" / ("a" * 40)).symlink_to(tmp_path / "elsewhere")
    kept = ["mine.txt", "fits/readme", "fits/other/file", "weights/net.pt", "speeds.json", f"fits/{'b' * 40}/file"]
    for name in kept:
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_text("mine")
        age(cache / name, 100)
    out = clean("--older-than", "1d", "--keep", "0", "--yes")
    assert not folder.exists() and all((cache / name).is_file() for name in kept)
    assert (tmp_path / "elsewhere" / "precious").is_file() and (cache / "fits" / ("a" * 40)).is_symlink()
    assert f"left {mixed}: holds 'notes.txt', which leakbench did not write" in out and mixed.is_dir()
    assert [line.split()[-1] for line in out.splitlines() if line.startswith("weights")] == ["stays"]


HOLD = """
import sys, time
from pathlib import Path
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.in_use import mark_in_use
root = Path(sys.argv[1])
with mark_in_use(root) if sys.argv[2] == "run" else ArtefactCache(root, "fits", url="").one_writer([sys.argv[2]]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(cache):
    """holder(what): a process that makes the artefact of a key, or is a run. It is killed at the end."""
    started = []

    def start(what):
        words = [sys.executable, "-c", HOLD, str(cache), what]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_another_process_works_on_is_left(clean, put, holder):
    held, free = put("fits", "held", 10, 40), put("fits", "free", 10, 40)
    process = holder(held.name)
    assert f"left {held}: another process works on it" in clean("--older-than", "1d", "--yes")
    assert held.is_dir() and not free.exists()
    process.kill()
    process.wait()
    clean("--older-than", "1d", "--yes")
    assert not held.exists()


def test_what_a_run_that_is_at_work_has_used_is_left(clean, put, holder, cache):
    old = put("fits", "before", 10, 40)
    process = holder("run")
    used = put("fits", "since", 10, -0.001)
    assert f"left {used}: a run that is at work has used it" in clean("--keep", "0", "--yes")
    assert used.is_dir() and not old.exists()
    process.kill()
    process.wait()
    clean("--keep", "0", "--yes")
    assert not used.exists() and not list((cache / "locks").glob("run-*"))


def test_what_killed_processes_had_begun_goes(clean, cache):
    begun, checkpoints = cache / "fits" / f".{'c' * 40}.x1y2z3w4", cache / "checkpoints" / ("d" * 40)
    for folder in (begun, checkpoints):
        folder.mkdir(parents=True)
        (folder / "half").write_text("half")
    clean("--yes")
    assert begun.is_dir() and checkpoints.is_dir()  # young: somebody may be at it
    for path in (begun / "half", begun, checkpoints / "half", checkpoints):
        age(path, 2)
    clean("--yes")
    assert not begun.exists() and checkpoints.is_dir()
    clean("--older-than", "1d", "--yes")
    assert not checkpoints.exists()


def test_records_that_a_run_set_aside_go_if_it_is_named(clean, again, leakbench):
    aside = again.out / "superseded"
    for name in ("records/a.json", "arrays/a.npz", "plan.json", "records/mine.txt"):
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        (aside / name).write_text("old")
        age(aside / name, 3)
    clean("--older-than", "2d", "--yes")
    assert (aside / "records" / "a.json").is_file()
    clean(again.out, "--older-than", "2d", "--yes")
    assert [path.name for path in aside.rglob("*") if path.is_file()] == ["mine.txt"]
    assert len(list((again.out / "records").iterdir())) > 10
    (aside / "records" / "mine.txt").unlink()
    refused = leakbench("clean", again.cache)
    assert (refused.code, refused.err.count("\n")) == (2, 1) and "no plan.json" in refused.err


def test_a_cleaned_cache_is_filled_again_with_the_same(clean, again, leakbench, finished):
    clean("--keep", "0", "--yes")
    assert not list(again.cache.glob("*/*/manifest.json"))
    for path in (again.out / "records").iterdir():
        path.unlink()
    assert leakbench("run", again.suite, "--out", again.out, "--workers", 1).code == 0
    assert (again.out / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()
    assert not list((again.cache / "locks").glob("run-*"))
    shutil.rmtree(again.cache)
    assert "--older-than or --keep" in clean()  # there is no such folder


def test_ages_and_sizes_as_people_type_them():
    ages = {"90m": 5400, "12h": DAY / 2, "30d": 30 * DAY, "4w": 28 * DAY, "0.5d": DAY / 2}
    assert {text: parse_age("-", text) for text in ages} == ages
    assert [parse_size("-", text) for text in ("20GB", "16GiB", "1.5 TB", "500mb", "7")] == [
        20 * 10**9,
        16 * 2**30,
        1_500_000_000_000,
        500_000_000,
        7,
    ]
    assert [format_size(count) for count in (0, 999, 1000, 3_140_000_000)] == ["0 B", "999 B", "1.0 KB", "3.1 GB"]
    for parse in (parse_age, parse_size):
        for wrong in ("", "d", "-3d", "3 months", "nan", "1e9", "20GBB"):
            with pytest.raises(UsageError, match="--it"):
                parse("--it", wrong)

"""Artefacts on disk: whole or not at all, damage found by hash, named, and made again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from leakbench.runtime.cache import artefacts, locks
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.keys import compute_key
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import check_writable, disk_is_full

KEY = compute_key(name="something")


@pytest.fixture
def store(tmp_path):
    return ArtefactCache(tmp_path / "cache", "fits")


def test_an_artefact_is_made_once(store, filler):
    calls = []
    first, second = store.get_or_make(KEY, filler(calls=calls)), store.get_or_make(KEY, filler(calls=calls))
    assert first == second
    assert calls == ["content"]
    assert (first / "data.bin").read_text() == "content"


def test_the_manifest_holds_the_files_sizes_and_sha256(store, filler):
    folder = store.get_or_make(KEY, filler())
    manifest = json.loads((folder / "manifest.json").read_text())
    contents = {name: (folder / name).read_bytes() for name in ("data.bin", "info.json")}
    assert manifest == {
        name: {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()} for name, text in contents.items()
    }


def test_a_failed_filling_leaves_nothing(store, filler):
    def broken(folder):
        filler()(folder)
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        store.write(KEY, broken)
    assert list(store.folder.iterdir()) == []
    assert store.get_valid(KEY) is None


def test_a_kill_while_filling_leaves_no_artefact(store, filler):
    # The process dies with the folder half filled: no clean-up of its own runs.
    script = f"""
import os
from pathlib import Path
from leakbench.runtime.cache.artefacts import ArtefactCache
def fill(folder):
    (folder / "data.bin").write_text("half")
    os._exit(9)
ArtefactCache(Path({str(store.folder.parent)!r}), "fits").write({KEY!r}, fill)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    assert [path.name.startswith(f".{KEY}") for path in store.folder.iterdir()] == [True]
    assert not store.exists(KEY)
    assert (store.get_or_make(KEY, filler()) / "data.bin").read_text() == "content"


HARMS = [
    (lambda folder: (folder / "data.bin").write_text("cOntent"), "data.bin does not match its hash"),
    (lambda folder: (folder / "data.bin").write_text(""), "data.bin does not match its hash"),
    (lambda folder: (folder / "data.bin").unlink(), "data.bin is missing"),
    (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json cannot be read"),
]


def tree(folder):
    """Content and time of last change of every file below a folder."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("harm, named", HARMS)
def test_questions_change_nothing(store, harm, named, filler):
    harm(store.write(KEY, filler()))
    before = tree(store.folder.parent)
    assert not store.is_valid(KEY)
    assert store.get_valid(KEY) is None
    store.exists(KEY)
    assert not store.is_valid("another") and store.get_valid("another") is None and not store.exists("another")
    assert tree(store.folder.parent) == before


def test_a_twin_that_replaces_a_damaged_artefact_is_not_deleted(store, monkeypatch, filler):
    """Between finding the damage and doing something about it, another process makes the artefact again."""
    real = artefacts.find_damage
    (store.write(KEY, filler()) / "data.bin").write_text("cOntent")

    def find_damage(folder):
        wrong = real(folder)
        if wrong:
            monkeypatch.setattr(artefacts, "find_damage", real)
            store.delete(KEY)
            store.write(KEY, filler("the twin's"))
        return wrong

    monkeypatch.setattr(artefacts, "find_damage", find_damage)
    store.get_valid(KEY)
    assert (store.path(KEY) / "data.bin").read_text() == "the twin's"


def test_a_rename_that_fails_is_an_error_that_says_why(store, monkeypatch, filler):
    real = Path.rename

    def rename(path, to):
        if Path(to).name == KEY:
            raise PermissionError(13, "Permission denied", str(to))
        return real(path, to)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(PermissionError, match=f"Permission denied.*{KEY}"):
        store.write(KEY, filler())
    assert list(store.folder.iterdir()) == []


def test_one_process_at_a_time_makes_an_artefact(store, tmp_path):
    """Of two that want it at the same time, the second waits and makes nothing."""
    code = f"""
import sys, time
from pathlib import Path
from leakbench.runtime.cache.artefacts import ArtefactCache
def make(folder):
    with Path({str(tmp_path / "calls")!r}).open("a") as calls:
        calls.write(sys.argv[1])
    time.sleep(1)
    (folder / "data.bin").write_text("made")
ArtefactCache(Path({str(store.folder.parent)!r}), "fits").get_or_make({KEY!r}, make)
"""
    both = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "ab"]
    assert [process.wait(100) for process in both] == [0, 0]
    assert len((tmp_path / "calls").read_text()) == 1
    assert store.is_valid(KEY)


def test_a_killed_process_gives_its_lock_back(store, filler):
    code = f"""
import os
from pathlib import Path
from leakbench.runtime.cache.artefacts import ArtefactCache
ArtefactCache(Path({str(store.folder.parent)!r}), "fits").get_or_make({KEY!r}, lambda folder: os._exit(9))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert (store.get_or_make(KEY, filler()) / "data.bin").read_text() == "content"


def test_waiting_is_said_in_one_line(store, monkeypatch, capsys, filler):
    monkeypatch.setattr(locks, "_QUIET", 0.05)
    began = threading.Event()

    def slow(folder):
        began.set()
        time.sleep(0.5)
        filler()(folder)

    other = threading.Thread(target=store.get_or_make, args=(KEY, slow))
    other.start()
    assert began.wait(10)
    assert ArtefactCache(store.folder.parent, "fits").get_or_make(KEY, filler("never")) == store.path(KEY)
    other.join()
    assert (store.path(KEY) / "data.bin").read_text() == "content"
    assert f"waiting for another process that makes fits/{KEY}\n" in capsys.readouterr().err


def test_without_locks_on_a_file_system_artefacts_are_made_all_the_same(store, monkeypatch, filler):
    def acquire(lock, **options):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.FileLock, "acquire", acquire)
    assert (store.get_or_make(KEY, filler()) / "data.bin").read_text() == "content"


def test_a_plan_leaves_damaged_artefacts_where_they_are(leakbench, again, tmp_path):
    for folder in (again.cache / "fits").iterdir():
        (folder / "info.json").write_text("{}")
    before = tree(again.cache)
    outcome = leakbench("run", again.suite, "--plan", "--workers", 1, "--out", tmp_path / "fresh")
    assert outcome.code == 0 and "train   baseline" in outcome.out
    after = tree(again.cache)
    assert {path: after.get(path) for path in before} == before


@pytest.mark.parametrize("harm, named", HARMS)
def test_damage_is_named_on_stderr_and_made_again(store, capsys, harm, named, filler):
    folder = store.get_or_make(KEY, filler())
    harm(folder)
    assert (store.get_or_make(KEY, filler("made again")) / "data.bin").read_text() == "made again"
    error = capsys.readouterr().err
    assert str(folder) in error
    assert named in error
    assert error.count("\n") == 1
    assert store.get_valid(KEY) == folder


def test_a_finished_twin_wins(store, filler):
    def slow(folder):
        ArtefactCache(store.folder.parent, "fits").write(KEY, filler("the twin's"))
        filler("ours")(folder)

    assert (store.write(KEY, slow) / "data.bin").read_text() == "the twin's"
    assert [path.name for path in store.folder.iterdir()] == [KEY]


def test_a_key_does_not_depend_on_the_order_of_its_parts_or_on_the_process():
    parts = {"alpha": 0.25, "words": ["a", None], "nested": {"b": 1, "a": 2}}
    code = (
        f"from leakbench.runtime.cache.keys import compute_key; print(compute_key(**{dict(reversed(parts.items()))!r}))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    there = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == compute_key(**parts)
    assert compute_key(**parts | {"alpha": 0.26}) != compute_key(**parts)
    # An outside value: sha256 of the canonical JSON.
    assert compute_key(a=1) == hashlib.sha256(b'{"a": 1}').hexdigest()[:40]


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("LEAKBENCH_CACHE", str(tmp_path / "here"))
    assert cache_root() == tmp_path / "here"
    monkeypatch.delenv("LEAKBENCH_CACHE")
    assert cache_root().name == "leakbench"


def test_a_folder_below_a_file_is_refused_by_name(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--out .*file/run: cannot be written to \(Not a directory\); choose another"):
        check_writable(tmp_path / "file" / "run", "--out")
    check_writable(tmp_path / "fresh", "--out")
    assert list((tmp_path / "fresh").iterdir()) == []


def test_a_full_disk_is_known_by_its_number_however_it_is_told():
    with pytest.raises(OSError, match="No space left") as caught:
        Path("/dev/full").write_text("x")
    assert disk_is_full(caught.value)
    assert disk_is_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert not disk_is_full(FileNotFoundError(2, "No such file"))


def test_a_finished_twin_stays(tmp_path):
    """Two processes make one artefact: the later one must not take the earlier one's folder from under a reader."""
    store = ArtefactCache(tmp_path, "fits")

    def early(folder):
        (folder / "weights").write_text("same")

    def late(folder):
        early(folder)
        store.write("key", early)  # the twin finishes while we still write
        twin.append((store.path("key") / "weights").stat().st_ino)

    twin = []
    first = store.write("key", late)
    inode = (first / "weights").stat().st_ino
    assert [inode] == twin
    store.write("key", early)
    assert (first / "weights").stat().st_ino == inode and store.get_valid("key") == first
    assert [path.name for path in (tmp_path / "fits").iterdir()] == ["key"]


def test_the_rest_of_something_older_is_replaced(tmp_path):
    store = ArtefactCache(tmp_path, "fits")
    store.path("key").mkdir(parents=True)
    (store.path("key") / "half").write_text("a kill of an older version left this")
    store.write("key", lambda folder: (folder / "weights").write_text("new") and None)
    assert sorted(path.name for path in store.get_valid("key").iterdir()) == ["manifest.json", "weights"]

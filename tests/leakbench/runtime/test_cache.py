"""Artefacts on disk: whole or not at all, damage found by hash, named, and made again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from leakbench.runtime.cache.keys import key_of
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.cache.store import Store
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import check_writable, disk_is_full

KEY = key_of(name="something")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache", "fits")


def test_an_artefact_is_made_once(store, filler):
    calls = []
    first, second = store.get(KEY, filler(calls=calls)), store.get(KEY, filler(calls=calls))
    assert first == second
    assert calls == ["content"]
    assert (first / "data.bin").read_text() == "content"


def test_the_manifest_holds_the_files_sha256(store, filler):
    folder = store.get(KEY, filler())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("data.bin", "info.json")
    }


def test_a_failed_filling_leaves_nothing(store, filler):
    def broken(folder):
        filler()(folder)
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        store.write(KEY, broken)
    assert list(store.folder.iterdir()) == []
    assert store.open(KEY) is None


def test_a_kill_while_filling_leaves_no_artefact(store, filler):
    # The process dies with the folder half filled: no clean-up of its own runs.
    script = f"""
import os
from pathlib import Path
from leakbench.runtime.cache.store import Store
def fill(folder):
    (folder / "data.bin").write_text("half")
    os._exit(9)
Store(Path({str(store.folder.parent)!r}), "fits").write({KEY!r}, fill)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    assert [path.name.startswith(f".{KEY}") for path in store.folder.iterdir()] == [True]
    assert not store.has(KEY)
    assert (store.get(KEY, filler()) / "data.bin").read_text() == "content"


@pytest.mark.parametrize(
    "harm, named",
    [
        (lambda folder: (folder / "data.bin").write_text("cOntent"), "data.bin does not match its hash"),
        (lambda folder: (folder / "data.bin").write_text(""), "data.bin does not match its hash"),
        (lambda folder: (folder / "data.bin").unlink(), "data.bin is missing"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json cannot be read"),
    ],
)
def test_damage_is_named_on_stderr_and_made_again(store, capsys, harm, named, filler):
    folder = store.get(KEY, filler())
    harm(folder)
    assert (store.get(KEY, filler("made again")) / "data.bin").read_text() == "made again"
    error = capsys.readouterr().err
    assert str(folder) in error
    assert named in error
    assert error.count("\n") == 1
    assert store.open(KEY) == folder


def test_a_finished_twin_wins(store, filler):
    def slow(folder):
        Store(store.folder.parent, "fits").write(KEY, filler("the twin's"))
        filler("ours")(folder)

    assert (store.write(KEY, slow) / "data.bin").read_text() == "the twin's"
    assert [path.name for path in store.folder.iterdir()] == [KEY]


def test_a_key_does_not_depend_on_the_order_of_its_parts_or_on_the_process():
    parts = {"alpha": 0.25, "words": ["a", None], "nested": {"b": 1, "a": 2}}
    code = f"from leakbench.runtime.cache.keys import key_of; print(key_of(**{dict(reversed(parts.items()))!r}))"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    there = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == key_of(**parts)
    assert key_of(**parts | {"alpha": 0.26}) != key_of(**parts)
    # An outside value: sha256 of the canonical JSON.
    assert key_of(a=1) == hashlib.sha256(b'{"a": 1}').hexdigest()[:40]


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
    store = Store(tmp_path, "fits")

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
    assert (first / "weights").stat().st_ino == inode and store.open("key") == first
    assert [path.name for path in (tmp_path / "fits").iterdir()] == ["key"]


def test_the_rest_of_something_older_is_replaced(tmp_path):
    store = Store(tmp_path, "fits")
    store.path("key").mkdir(parents=True)
    (store.path("key") / "half").write_text("a kill of an older version left this")
    store.write("key", lambda folder: (folder / "weights").write_text("new") and None)
    assert sorted(path.name for path in store.open("key").iterdir()) == ["manifest.json", "weights"]

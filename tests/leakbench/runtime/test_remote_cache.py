"""Artefacts that machines share by URL: pulled once, checked, whole or not there at all."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256

import fsspec
import pytest

from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.keys import compute_key
from leakbench.runtime.cache.location import cache_root, shared_url
from leakbench.runtime.cache.remote import check_reachable
from leakbench.runtime.errors import UsageError

KEY = compute_key(name="something")


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    yield f"file://{tmp_path}/there" if request.param == "file" else f"memory://{tmp_path.name}"
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()


@pytest.fixture
def machine(url, tmp_path):
    """machine(name): the store as another machine sees it, with a folder of its own."""
    return lambda name: ArtefactCache(tmp_path / name, "fits", url)


def there(url):
    """Content of every file at the URL, by its path below the kind."""
    files, base = fsspec.core.url_to_fs(url)
    return {path.split("/fits/")[1]: files.cat_file(path) for path in files.find(base)}


def damage(url, name, content):
    files, base = fsspec.core.url_to_fs(url)
    files.pipe_file(f"{base}/fits/{name}", content)


def test_what_one_machine_made_another_opens_without_making_it(machine, filler):
    calls = []
    machine("a").get_or_make(KEY, filler(calls=calls))
    assert (machine("b").get_or_make(KEY, filler(calls=calls)) / "data.bin").read_text() == "content"
    assert calls == ["content"]
    assert machine("b").path(KEY) != machine("a").path(KEY)


def test_files_lie_at_the_url_under_their_sha256_and_the_manifest_names_them(machine, url, filler):
    machine("a").write(KEY, filler())
    found = there(url)
    manifest = json.loads(found.pop(f"{KEY}/manifest.json"))
    contents = {"data.bin": b"content", "info.json": b"{}"}
    assert manifest == {
        name: {"bytes": len(text), "sha256": sha256(text).hexdigest()} for name, text in contents.items()
    }
    assert found == {f"{KEY}/{sha256(text).hexdigest()}": text for text in (b"content", b"{}")}


def test_without_its_manifest_an_artefact_does_not_exist(machine, url, filler):
    """So a machine that goes away while it pushes leaves nothing that anybody would take."""
    machine("a").write(KEY, filler())
    files, base = fsspec.core.url_to_fs(url)
    files.rm_file(f"{base}/fits/{KEY}/manifest.json")
    for store in (machine("a"), machine("b")):
        assert not store.exists(KEY)
        assert store.get_valid(KEY) is None
    machine("b").write(KEY, filler("again"))
    assert (machine("a").get_valid(KEY) / "data.bin").read_text() == "again"


def test_the_manifest_is_pushed_after_every_file(machine, url, monkeypatch, filler):
    store, seen = machine("a"), []
    move = store.remote.files.mv

    def mv(path, to):
        if to.endswith("manifest.json"):
            seen.append(len(there(url)))
        move(path, to)

    monkeypatch.setattr(store.remote.files, "mv", mv)
    store.write(KEY, filler())
    assert seen == [3]  # two files and the manifest under another name


def test_asking_whether_it_is_whole_downloads_nothing(machine, filler):
    machine("a").write(KEY, filler())
    assert machine("b").is_valid(KEY)
    assert not machine("b").path(KEY).exists()


@pytest.mark.parametrize("content", [b"", b"content and more", None, b"cOntent"])
def test_a_damaged_artefact_at_the_url_is_not_valid_and_asking_changes_nothing(machine, url, content, filler):
    machine("a").write(KEY, filler())
    if content == b"cOntent" and url.startswith("memory"):
        pytest.skip("other bytes of the same size are seen where the URL is a folder, else when it is pulled")
    files, base = fsspec.core.url_to_fs(url)
    name = f"{KEY}/{sha256(b'content').hexdigest()}"
    files.rm_file(f"{base}/fits/{name}") if content is None else damage(url, name, content)
    before = there(url)
    for store in (machine("a"), machine("b")):
        assert store.exists(KEY) and not store.is_valid(KEY)
    assert there(url) == before
    assert machine("b").get_valid(KEY) is None and machine("a").get_valid(KEY) is None
    assert there(url) == before
    machine("b").write(KEY, filler())
    assert machine("a").is_valid(KEY) and machine("c").get_valid(KEY)


@pytest.mark.parametrize("content", [b"cOntent", b""])
def test_what_is_damaged_at_the_url_is_named_and_made_again(machine, url, capsys, content, filler):
    machine("a").write(KEY, filler())
    damage(url, f"{KEY}/{sha256(b'content').hexdigest()}", content)
    assert (machine("b").get_or_make(KEY, filler("made again")) / "data.bin").read_text() == "made again"
    error = capsys.readouterr().err
    assert f"{url}/fits/{KEY}: data.bin does not match its hash; making it again" in error
    assert error.count("\n") == 1
    assert (machine("a").get_valid(KEY) / "data.bin").read_text() == "made again"


def test_a_damaged_copy_is_pulled_again(machine, capsys, filler):
    folder = machine("a").write(KEY, filler())
    (folder / "data.bin").write_text("cOntent")
    assert (machine("a").get_valid(KEY) / "data.bin").read_text() == "content"


def test_a_manifest_that_points_out_of_its_folder_writes_nothing_there(machine, url, tmp_path, filler):
    machine("a").write(KEY, filler())
    entry = {"bytes": 7, "sha256": sha256(b"content").hexdigest()}
    damage(url, f"{KEY}/manifest.json", json.dumps({"../../../../loot": entry}).encode())
    assert machine("b").get_valid(KEY) is None
    assert not list(tmp_path.rglob("loot"))


def test_the_twin_that_was_pushed_first_wins(machine, filler):
    def slow(folder):
        machine("b").write(KEY, filler("the twin's"))
        filler("ours")(folder)

    assert (machine("a").write(KEY, slow) / "data.bin").read_text() == "the twin's"


def test_what_was_dropped_and_made_again_replaces_the_copies(machine, filler):
    machine("a").write(KEY, filler("old"))
    machine("b").get_valid(KEY)
    machine("a").delete(KEY)
    assert machine("b").get_valid(KEY) is None
    machine("a").write(KEY, filler("new"))
    assert (machine("b").get_valid(KEY) / "data.bin").read_text() == "new"
    assert [path.name for path in machine("b").folder.iterdir()] == [KEY]


def test_a_failed_filling_leaves_nothing_anywhere(machine, url, filler):
    def broken(folder):
        filler()(folder)
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        machine("a").write(KEY, broken)
    assert there(url) == {}
    assert list(machine("a").folder.iterdir()) == []


def test_a_url_in_the_environment_leaves_the_users_folder_for_copies(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LEAKBENCH_CACHE", "s3://bucket/leakbench")
    assert shared_url() == "s3://bucket/leakbench"
    assert cache_root().is_relative_to(tmp_path) or cache_root().name == "leakbench"
    monkeypatch.setenv("LEAKBENCH_CACHE", str(tmp_path / "here"))
    assert shared_url() == ""


def test_a_url_that_can_be_used_is_left_as_it_was(url):
    check_reachable(url)
    assert there(url) == {}


@pytest.mark.parametrize("bad", ["nowhere://bucket", "file:///dev/null/below"])
def test_a_url_that_cannot_is_refused_in_one_line(bad):
    with pytest.raises(UsageError, match=f"LEAKBENCH_CACHE={bad}: cannot be written to") as caught:
        check_reachable(bad)
    assert "\n" not in str(caught.value)


def test_a_run_on_two_machines_trains_and_samples_once(leakbench, tiny, tmp_path, monkeypatch, finished):
    """The first machine's folder is gone; what it made is found at the URL, and the records come out the same."""
    monkeypatch.setenv("LEAKBENCH_CACHE", f"file://{tmp_path}/there")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine"))
    for kind in ("fits", "samples", "readers"):  # what the finished run made, brought to the URL
        for folder in (finished.cache / kind).iterdir():
            store = ArtefactCache(tmp_path / "first", kind, f"file://{tmp_path}/there")
            store.write(folder.name, lambda to, folder=folder: _copy(folder, to))
    shutil.rmtree(tmp_path / "first")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "there").rglob("*") if path.is_file()}
    outcome = leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1)
    assert (outcome.code, outcome.err) == (0, "")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "there").rglob("*") if p.is_file()} == before
    assert (tmp_path / "run" / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()


def _copy(folder, to):
    for path in folder.iterdir():
        if path.name != "manifest.json":
            shutil.copy(path, to)

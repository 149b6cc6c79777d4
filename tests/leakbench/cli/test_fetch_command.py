"""`leakbench fetch`: what was fetched, where, how large, its hash; wrong words are refused before any download."""

from __future__ import annotations

import hashlib
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from leakbench.data import Dataset
from leakbench.metrics.weights import resources
from leakbench.runtime import registry
from leakbench.runtime.download.resource import Resource, downloads_folder, fetch

BODY = np.random.default_rng(0).bytes(1_234_567)
SHA256 = hashlib.sha256(BODY).hexdigest()
PUBLISHED: dict[str, Resource] = {}


def tiles(argument: str) -> Dataset:
    """Tiles, 2x3 grey. The second line is not shown."""
    path = fetch(PUBLISHED["tiles"], downloads_folder() / "tiles")
    return Dataset("tiles", images=np.frombuffer(path.read_bytes()[:60], np.uint8).reshape(10, 2, 3, 1))


@pytest.fixture(autouse=True)
def published(tmp_path, monkeypatch):
    """Two weights and a data set, published in a folder; the folder."""
    folder = tmp_path / "published"
    folder.mkdir()
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def publish(name, **hashes):
        (folder / name).write_bytes(BODY)
        return Resource(name=name, file=f"{name}.pt", urls=((folder / name).as_uri(),), bytes=len(BODY), **hashes)

    found = {name: publish(name) for name in ("inception", "dinov2")}
    monkeypatch.setattr(resources, "WEIGHTS", found)
    monkeypatch.setitem(PUBLISHED, "tiles", publish("tiles", sha256=SHA256))
    monkeypatch.setattr(EntryPoint, "load", lambda entry: tiles)
    monkeypatch.setattr(registry, "_entries", lambda group: {"tiles": {"x:y": EntryPoint("tiles", "x:y", "z")}})
    return folder


def test_it_says_what_it_fetched_and_where(leakbench, cache):
    done = leakbench("fetch", "weights", "tiles")
    assert done.code == 0, done.err
    places = [cache / "weights" / "inception.pt", cache / "weights" / "dinov2.pt", cache / "downloads/tiles/tiles.pt"]
    assert done.out.splitlines() == [
        *(f"{place.stem}: {place} (1.2 MB, sha256 {SHA256})" for place in places),
        "tiles: 10 images, 2x3, 1 channels",
    ]
    assert all(place.read_bytes() == BODY for place in places)
    assert done.err.count("downloading") == 3
    assert "downloading" not in leakbench("fetch", "weights", "tiles").err


def test_one_of_the_weights(leakbench, cache):
    assert leakbench("fetch", "weights:dinov2").code == 0
    assert sorted(path.name for path in (cache / "weights").iterdir()) == ["dinov2.pt", "dinov2.pt.sha256"]


def test_what_cannot_be_had_does_not_keep_the_rest_away(leakbench, cache, published):
    (published / "inception").unlink()
    done = leakbench("fetch", "weights")
    assert done.code == 2 and "dinov2" in done.out
    (line,) = [line for line in done.err.splitlines() if "downloading" not in line]
    assert line.startswith("leakbench: inception: no inception.pt (file://")
    assert str(cache / "weights") in line


def test_offline_says_what_to_put_where(leakbench, cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # so that what --offline sets is taken back
    done = leakbench("--offline", "fetch", "weights", "tiles")
    assert done.code == 2 and done.out == ""
    for line, name in zip(done.err.splitlines(), ("inception", "dinov2", "tiles"), strict=True):
        assert line.startswith(f"leakbench: {name}: ") and "--offline" in line
        assert f"put {name}.pt from file://" in line and str(cache) in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say what: weights, weights:NAME or a data set's name"),
        (("weights:dinov3",), "unknown weights 'dinov3'; did you mean 'dinov2'?"),
        (("weights", "tils"), "unknown dataset 'tils'; did you mean 'tiles'?"),
    ],
)
def test_wrong_words_are_one_line_and_fetch_nothing(leakbench, cache, words, said):
    done = leakbench("fetch", *words)
    assert done.code == 2 and done.out == "" and done.err.count("\n") == 1
    assert said in done.err and not (cache / "weights").exists()


def test_the_list_says_what_is_here(leakbench, cache):
    def rows():
        return {line.split()[0]: line for line in leakbench("fetch", "--list").out.splitlines()}

    before = rows()
    assert "about 1.2 MB" in before["weights:inception"] and " no " in before["weights:inception"]
    assert before["tiles"].split(maxsplit=1)[1] == "Tiles, 2x3 grey. The second line is not shown."
    assert leakbench("fetch", "weights:dinov2", "tiles").code == 0
    after = rows()
    assert " no " in after["weights:inception"]
    assert (
        str(cache / "weights" / "dinov2.pt")[:40] in after["weights:dinov2"] and " no " not in after["weights:dinov2"]
    )
    assert "1.2 MB" in after["tiles"] and str(cache)[:20] in after["tiles"]


def test_doctor_names_the_command(leakbench, cache):
    done = leakbench("doctor")
    for name in ("inception", "dinov2"):
        (line,) = [line for line in done.out.splitlines() if f"fetch weights:{name}`" in line]
        assert line.startswith("missing") and str(cache / "weights") in line
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / "dinov2.pt").touch()
    (line,) = [line for line in leakbench("doctor").out.splitlines() if "dinov2.pt" in line]
    assert line.startswith("ok") and "FD-dinov2" in line

"""Code that a test pretends to have changed."""

from __future__ import annotations

import gc
from functools import cache

import pytest

from leakbench.runtime import code_digest, source_file


@pytest.fixture
def edited(monkeypatch):
    """edited(module, change): the digests as if the file's text were changed by `change`, for the rest of the test."""

    def edit(name, change):
        parse = source_file.parse_source

        @cache
        def read(path):
            text = path.read_text()
            if path.as_posix().endswith(name):
                assert change(text) != text
                text = change(text)
            return parse(text.encode(), path.name == "__init__.py")

        monkeypatch.setattr(code_digest, "read_source", read)
        code_digest.code_closure.cache_clear()

    yield edit
    code_digest.code_closure.cache_clear()


@pytest.fixture
def young():
    """What is alive before the test is no longer looked at by the garbage collector, which takes long late in a
    session."""
    gc.freeze()
    yield
    gc.unfreeze()


FEW_PEOPLE = """
name = "few_people"
dataset = "people:4"
[split]
members = 90
nonmembers = 90
calibration_in = 45
calibration_out = 45
other_images = 1
[network]
width = 32
[sampler]
steps = 4
[[defense]]
name = "baseline"
steps = 20
batch = 32
[[defense]]
name = "untrained"
[[attack]]
name = "loss"
[[attack]]
name = "blind"
[[attack]]
name = "nearest_copy"
[quality]
samples = 40
features = "pixels"
"""


@pytest.fixture(scope="session")
def asked_of_people(leakbench, tmp_path_factory):
    """A finished run on four images a person, of which three are trained on or held out, and the words that made it:
    read it, never write to it."""
    folder = tmp_path_factory.mktemp("people")
    suite = folder / "few_people.toml"
    suite.write_text(FEW_PEOPLE)
    arguments = ["run", str(suite), "--out", str(folder / "run"), "--workers", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAKBENCH_CACHE", str(folder / "cache"))
        outcome = leakbench(*arguments, formats=("csv", "md"))
    assert outcome.code == 0, outcome.out
    return folder / "run", arguments

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

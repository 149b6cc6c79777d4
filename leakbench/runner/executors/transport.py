"""Packs what travels to another process or node: a suite with its configuration, and errors on the way back."""

from __future__ import annotations

import pickle

from leakbench.runtime.run_config import RunConfig
from leakbench.suite.suite import Suite


def pack_suite(suite: Suite, config: RunConfig) -> bytes:
    """A suite and its config for another process: bytes, as its plugins' files must be loaded before they are read."""
    return pickle.dumps((suite, config))


def unpack_suite(data: bytes) -> tuple[Suite, RunConfig]:
    """Unpack the bytes of `pack_suite`: our own, from the process that runs the command."""
    suite, config = pickle.loads(data)
    return suite, config


def make_picklable(error: Exception) -> Exception:
    """The error, or a RuntimeError with its text if it cannot be pickled."""
    try:
        return pickle.loads(pickle.dumps(error)) and error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")

"""Settings of a suite as Python writes them, turned into what `--set` takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

from leakbench.runtime.errors import UsageError

Settings = Mapping[str, Any] | Sequence[str]


def to_overrides(settings: Settings) -> tuple[str, ...]:
    """Settings as PATH=VALUE texts: of {"defense.cpsample.alpha": 0.1}, or of texts in that form already.

    Raises UsageError for a value that a suite file cannot hold.
    """
    if isinstance(settings, Mapping):
        return tuple(f"{path}={_to_toml(path, value)}" for path, value in settings.items())
    return (settings,) if isinstance(settings, str) else tuple(settings)


def _to_toml(path: str, value: Any) -> str:
    """A value in TOML. Strings are quoted, so that they stay strings whatever they say."""
    if hasattr(value, "tolist"):  # a number or an array of numpy's
        value = value.tolist()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | PathLike):
        return json.dumps(fspath(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_to_toml(path, one)}" for key, one in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_to_toml(path, one) for one in value) + "]"
    raise UsageError(f"settings: {path} = {value!r}: a suite holds numbers, text, true or false, lists and tables")

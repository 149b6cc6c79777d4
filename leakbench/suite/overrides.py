"""Values of a suite's table by their paths, as --set and [small] write them: defense.cpsample.alpha = 0.1."""

from __future__ import annotations

import tomllib
from typing import Any

from leakbench.runtime.errors import UsageError, nearest_name


def apply_override(table: dict[str, Any], override: str) -> None:
    """Apply `--set PATH=VALUE`, in place. The value is TOML, or else text."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UsageError(f"--set {override!r}: write PATH=VALUE, such as defense.cpsample.alpha=0.1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    set_value(table, path, value)


def set_value(table: dict[str, Any], path: str, value: Any, origin: str = "--set") -> None:
    """Set the value at a path, in place; an entry of [[defense]] or [[attack]] goes by its id. `origin` is what gave
    the path, for errors."""
    *parents, key = path.split(".")
    here: Any = table
    for i, parent in enumerate(parents):
        if isinstance(here, list):
            ids = {entry.get("id", entry.get("name")): entry for entry in here}
            if parent not in ids:
                raise UsageError(
                    f"{origin} {path}: no {parents[i - 1]} with id {parent!r}; {nearest_name(parent, ids)}"
                )
            here = ids[parent]
        else:
            here = here.setdefault(parent, {})
        if not isinstance(here, (dict, list)):
            raise UsageError(f"{origin} {path}: {parent!r} is a value, not a table")
    if isinstance(here, list):
        raise UsageError(f"{origin} {path}: name an entry and a key, such as {path}.alpha")
    here[key] = value


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Values by their paths; entries of [[defense]] and [[attack]] by their ids."""
    if isinstance(value, dict):
        flat: dict[str, Any] = {}
        for key, inner in value.items():
            flat |= flatten(inner, f"{path}.{key}" if path else key)
        return flat
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        entries = {f"{path}.{one.get('id', one.get('name'))}": one for one in value}
        return {key: inner for name, one in entries.items() for key, inner in flatten(one, name).items()}
    return {path: value}

"""Differences between the parts of two cache keys, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_HASH = re.compile(r"[0-9a-f]{16,}")
_CODE = ("code", "imports", "libraries")


def list_differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Differences between the parts of an older key and those of a newer one, a line each: settings, then code, then
    libraries. Empty where the keys are equal."""
    old, new = _as_stored(old), _as_stored(new)
    plain = [{name: value for name, value in parts.items() if name not in _CODE} for parts in (old, new)]
    return [
        *_differences("", *plain),
        *_code_differences(old, new),
        *_differences("", old.get("libraries", {}), new.get("libraries", {})),
    ]


def _as_stored(parts: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(parts, default=str)))


def _differences(name: str, old: Any, new: Any) -> Iterator[str]:
    """Of two values of one name; of tables and lists of equal length, item by item."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(key, old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for before, after in zip(old, new, strict=True):
            yield from _differences(name, before, after)
    elif any(isinstance(value, str) and _HASH.fullmatch(value) for value in (old, new)):
        yield f"{name} changed"
    else:
        yield f"{name} {_word(old)} -> {_word(new)}"


def _word(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) and value else json.dumps(value)


def _code_differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Modules whose code changed. One that only moved is none; nor is one that only imports what changed."""
    before, after = old.get("code", {}), new.get("code", {})
    found = [f"code of {name} changed" for name in before if name in after and before[name] != after[name]]
    known = set(before.values())
    found += [f"code of {name} is reached now" for name in after if name not in before and after[name] not in known]
    known = set(after.values())
    found += [
        f"code of {name} is reached no longer" for name in before if name not in after and before[name] not in known
    ]
    return found if found or old.get("imports") == new.get("imports") else ["an import leads to other code"]

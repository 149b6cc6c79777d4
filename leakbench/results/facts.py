"""Facts of a record (`Record.info`) that reports read, and what they are: a stranger's record may hold anything.

Attacks and defenses may tell further facts under names of their own; nothing reads those but people.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(_is_count(one) for one in value)


Kind = tuple[str, Callable[[Any], bool]]
_NUMBER: Final[Kind] = "a number", _is_number
_COUNT: Final[Kind] = "a whole number from 0 up", _is_count
_TABLE: Final[Kind] = "a table", _is_table
_TEXT: Final[Kind] = "text", _is_text

_FACTS: Final[dict[str, Kind]] = {
    "orientation": _NUMBER,
    "group_z": _NUMBER,
    "group_p_value": _NUMBER,
    "threshold": _NUMBER,
    "published_threshold": _NUMBER,
    "delta": _NUMBER,
    "labels_consumed": _COUNT,
    "public_images": _COUNT,
    "shadow_models": _COUNT,
    "set_images_needed": _COUNT,
    "set_groups_needed": _COUNT,
    "right": _COUNT,
    "guessed": _COUNT,
    "defense": _TABLE,
    "skipped": _TEXT,
    "of": _TEXT,
    "unit": _TEXT,
    "transforms": ("a list of texts", _are_texts),
    "flagged": ("a list of whole numbers from 0 up", _are_counts),
}


def check_facts(info: dict[str, Any]) -> dict[str, Any]:
    """The facts as they are. Raises ValueError for one that is not what its name says; None stands for none."""
    for name, (words, is_one) in _FACTS.items():
        value = info.get(name)
        if value is not None and not is_one(value):
            raise ValueError(f"{name} = {repr(value)[:80]}: it should be {words}")
    return info

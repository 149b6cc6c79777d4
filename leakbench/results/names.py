"""Names in records and plans: what people read in tables, and what may come from a stranger's run."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator

LONGEST = 500
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control and formatting characters, lone surrogates, line separators


def _check_name(name: str) -> str:
    """The name as it is. Raises ValueError for a character that would break a line or change how others are read."""
    if len(name) > LONGEST:
        raise ValueError(f"a name of {len(name)} characters; {LONGEST} at most")
    if unseen := next((letter for letter in name if unicodedata.category(letter) in _UNSEEN), None):
        raise ValueError(f"{name[:40]!r} holds the control character U+{ord(unseen):04X}; names are plain text")
    return name


Name = Annotated[str, AfterValidator(_check_name)]

"""Paths as users write them."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

from leakbench.runtime.errors import UsageError

_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes, as file systems and the operating system have it


def user_path(given: str | PathLike[str]) -> Path:
    """The path that a user wrote, `~` being their home.

    Raises UsageError for what no file can be called: a null character, a name of more than 255 bytes, and text that
    the file system cannot write. (The functions of the operating system each raise another error for these.)
    """
    text = os.path.expanduser(os.fspath(given))
    try:
        name = os.fsencode(text)
    except UnicodeEncodeError:
        raise UsageError(f"{text[:80]!a}: no path of a file: it holds a character that no file name has") from None
    if b"\0" in name:
        raise UsageError(f"{text[:80]!a}: no path of a file: it holds a null character")
    longest = max(len(part) for part in name.split(b"/"))
    if longest > _LONGEST_NAME or len(name) > _LONGEST_PATH:
        raise UsageError(f"{text[:80]!a}...: no path of a file: a name of {longest} bytes; {_LONGEST_NAME} at most")
    return Path(text)

"""Secrets of an endpoint: `${NAME}` stands for an environment variable, in headers and address.

They are read when a request is sent, are written nowhere, and are cut out of every message.
"""

from __future__ import annotations

import os
import re

from leakbench.runtime.errors import UsageError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def find_variables(*texts: str) -> set[str]:
    """Names of the environment variables that texts name."""
    return {name for text in texts for name in _VARIABLE.findall(text)}


def put_in(text: str, where: str) -> str:
    """The text with the variables' values. Raises UsageError for one that is not set, or of several lines."""

    def value(found: re.Match[str]) -> str:
        known = os.environ.get(found[1], "").strip()
        if not known or not (known.isascii() and known.isprintable()):
            state = "holds no printable line in ASCII" if known else "is not set"
            raise UsageError(f"{where}: the environment variable {found[1]} {state}")
        return known

    return _VARIABLE.sub(value, text)


def cut_out(message: str, *texts: str) -> str:
    """A message in which no value of the variables that the texts name can be read."""
    values = {os.environ.get(name, "").strip() for name in find_variables(*texts)} - {""}
    for value in sorted(values, key=len, reverse=True):  # one may hold another
        message = message.replace(value, "***")
    return message

"""The command of a run as it is told to others: without the folder that it wrote to, which is a path of one machine."""

from __future__ import annotations

import ast
import shlex

_OUT = "--out"


def leave_out_folder(command: str) -> str:
    """The command line, or call of Python, without `--out` or `out=`; "" where it cannot be read as either."""
    try:
        return _of_call(command) if command.startswith("leakbench.") else _of_words(shlex.split(command))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ""


def _of_words(words: list[str]) -> str:
    kept, skipped = [], False
    for word in words:
        if skipped or word.startswith(f"{_OUT}="):
            skipped = False
        elif word == _OUT:
            skipped = True
        else:
            kept.append(word)
    return shlex.join(kept)


def _of_call(command: str) -> str:
    call = ast.parse(command, mode="eval").body
    if not isinstance(call, ast.Call):
        return ""
    call.keywords = [one for one in call.keywords if one.arg != "out"]
    return ast.unparse(call)

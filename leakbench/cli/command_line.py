"""Entry point of the command line: runs a command and turns errors into one line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Any

from leakbench.cli import (  # noqa: F401
    audit,
    check,
    check_counter,
    check_submission,
    claims,
    clean,
    diff,
    doctor,
    export,
    fetch,
    files,
    leaderboard,
    list_,
    new,
    power,
    recipe,
    report,
    rerun,
    run,
    score,
    show,
    submit,
    why,
)
from leakbench.cli.app import app, tidy_on_sigterm
from leakbench.runtime.errors import UsageError, format_error, in_a_line, is_out_of_memory


def main() -> Any:
    """Run the command that was typed. Wrong usage: one line, exit code 2; a failure of the machine: one line, 1."""
    try:
        with tidy_on_sigterm():
            return app(standalone_mode=True)
    except UsageError as error:
        if os.environ.get("LEAKBENCH_DEBUG"):
            raise
        print(f"leakbench: {format_error(error)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if os.environ.get("LEAKBENCH_DEBUG"):
            raise
        _print_kept(format_error(error))
        sys.exit(1)
    except (MemoryError, RuntimeError) as error:
        if os.environ.get("LEAKBENCH_DEBUG") or not is_out_of_memory(error):
            raise
        _print_kept(in_a_line(error))
        sys.exit(1)


def _print_kept(fault: str) -> None:
    print(f"leakbench: {fault}; what was finished is kept: run the same command to go on", file=sys.stderr)

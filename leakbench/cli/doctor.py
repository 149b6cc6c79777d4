"""`leakbench doctor`."""

from __future__ import annotations

from leakbench.cli.app import app
from leakbench.cli.lines import print_lines


@app.command(
    help="Say what this machine can run, what is missing and how to get it.\n\n\b\nExample:\n  leakbench doctor"
)
def doctor() -> None:
    from leakbench.cli.doctor_checks import findings

    print_lines(f"{state:<8} {words}" for state, words in findings())

"""`leakbench doctor`."""

from __future__ import annotations

from leakbench.cli.app import app


@app.command(
    help="Say what this machine can run, what is missing and how to get it.\n\n\b\nExample:\n  leakbench doctor"
)
def doctor() -> None:
    from leakbench.cli.doctor_checks import findings

    for state, words in findings():
        print(f"{state:<8} {words}")

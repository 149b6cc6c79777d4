"""Execution of a prepared run for Python: its results, or an exception that names what failed."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from leakbench.interface.results import Results
from leakbench.results.run_folder import RunFolder

if TYPE_CHECKING:
    from leakbench.runner.run import Run


class RunFailed(Exception):
    """Some cells of a run failed. The same call does them again, and nothing else.

    failures: one line each, by the cell's name. results: what was finished.
    """

    def __init__(self, results: Results, failures: dict[str, str]) -> None:
        lines = "\n".join(f"- {line}" for line in failures.values())
        count = "1 cell" if len(failures) == 1 else f"{len(failures)} cells"
        super().__init__(f"{count} failed; what was finished is kept in {results.path}\n{lines}")
        self.results, self.failures = results, failures


def execute(run: Run, call: str) -> Results:
    """Do what is left of a run and write its reports. `call` is kept for the record. Raises RunFailed, and warns where
    the track is void."""
    execution = run.execute(call)
    results = Results(RunFolder(run.out))
    if execution.failures:
        raise RunFailed(results, execution.failures)
    if results.void:
        warnings.warn(f"{results.path}: void: {'; '.join(results.void)}", stacklevel=4)
    return results

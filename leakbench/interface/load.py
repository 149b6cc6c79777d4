"""`leakbench.load`."""

from __future__ import annotations

from leakbench.interface.options import PathName
from leakbench.interface.results import Results
from leakbench.results.run_folder import open_run
from leakbench.runtime.paths import user_path


def load(folder: PathName) -> Results:
    """Results of a run that is on disk, finished or not: of `leakbench run` or `leakbench audit`, of this machine or
    another one. Trains and writes nothing. Raises UsageError for a folder that holds no run."""
    return Results(open_run(user_path(folder)))

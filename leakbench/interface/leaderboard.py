"""`leakbench.leaderboard`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from leakbench.interface.options import PathName
from leakbench.interface.results import Results
from leakbench.reports.site.leaderboard.build import write_site
from leakbench.results.run_folder import open_run
from leakbench.results.verified import VerifiedFile, read_verified
from leakbench.runtime.paths import user_path
from leakbench.runtime.progress import progress


def leaderboard(
    results: PathName | Results | Sequence[PathName | Results], out: PathName, *, verified: PathName | None = None
) -> Path:
    """Write a leaderboard of finished runs: a static site that works from its folder and loads nothing from outside.

    - results: folders of runs, or what `run`, `audit` and `load` answer.
    - out: the folder of the site: a new one, an empty one, or that of an earlier leaderboard, which is replaced.
    - verified: the file that `leakbench check submission --record` writes; without it every row is "self-reported".

    Returns the first page, `index.html`. Raises UsageError, in one line, for folders that hold no run, for names and
    numbers that no run has, for a run that is given twice, for a `verified` that holds none of the runs, and where
    vl-convert-python is not installed.
    """
    given = [results] if isinstance(results, (str, Results)) or not isinstance(results, Sequence) else list(results)
    # what a Results has read is not read again
    runs = [one._run if isinstance(one, Results) else open_run(user_path(one)) for one in given]
    checked = VerifiedFile() if verified is None else read_verified(user_path(verified))
    with progress(f"building the leaderboard of {len(runs)} runs"):
        return write_site(runs, user_path(out), checked)

"""`leakbench.run`, and the preparation of a suite's run that `leakbench run` shares with it."""

from __future__ import annotations

from collections.abc import Sequence

from leakbench.interface.call import format_call
from leakbench.interface.execution import execute
from leakbench.interface.options import Device, PathName, check_at_least, check_choice, list_paths
from leakbench.interface.process import run_settings
from leakbench.interface.results import Results
from leakbench.interface.settings import Settings, to_overrides
from leakbench.runner.plan import Rerun
from leakbench.runner.process import ExecutorName, start_process
from leakbench.runner.run import Run, prepare_run
from leakbench.runtime import registry
from leakbench.runtime.paths import user_path


def run(
    suite: PathName,
    *,
    out: PathName | None = None,
    device: Device = "auto",
    workers: int | None = None,
    executor: ExecutorName = "local",
    rerun: Rerun = "missing",
    settings: Settings = (),
    budget: float | None = None,
    cell_limit: float | None = None,
    plugins: PathName | Sequence[PathName] = (),
    skip_broken: bool = False,
    images: bool = True,
) -> Results:
    """Run a suite: train what is missing, attack it, write tables and figures, and return the results.

    It does what `leakbench run` does, with the same numbers, and shows its progress, but prints no table. What is
    finished is not done again: the same call goes on after an interruption, and on a finished folder only reads.

    - suite: a suite's name ("quick") or its .toml file.
    - out: the folder for the results, else runs/SUITE below the working directory. One that holds a run of the suite is
      added to: attacks, points and seeds that were not asked for before.
    - device: where to compute; "auto" is CUDA where there is a device.
    - workers: processes, at least 1; None for one a core, or one a CUDA device. With 1 all is done in this process.
      Workers do not import the calling script, which needs no `if __name__ == "__main__"`.
    - executor: "local", or "ray" for the running Ray cluster.
    - rerun: compute what has no record ("missing"), only what failed last time ("failed"), or "all" of it anew, in
      place of what `out` holds.
    - settings: changes of the suite: {"defense.cpsample.alpha": 0.1}, or texts PATH=VALUE as `--set` takes them.
    - budget: minutes, at least 0.1: scale steps and samples down so that it takes no longer here.
    - cell_limit: minutes that a cell (a training, or the attacks on one release) may take, at least 0.01; one that
      takes longer fails, and the others go on. None for no limit.
    - plugins: Python files with attacks or defenses.
    - skip_broken: leave image files out that do not decode.
    - images: keep pictures of members beside what copies them.

    Raises UsageError, in one line, before anything is computed; RunFailed where cells failed, whose `results` are those
    of the others; OSError for a full disk or a worker that was killed.
    """
    given = locals()
    with run_settings():
        return execute(prepare_suite(**given), format_call(run, given))


def prepare_suite(
    suite: PathName,
    *,
    out: PathName | None,
    device: Device,
    workers: int | None,
    executor: ExecutorName,
    rerun: Rerun,
    settings: Settings,
    budget: float | None,
    cell_limit: float | None,
    plugins: PathName | Sequence[PathName],
    skip_broken: bool,
    images: bool,
) -> Run:
    """The run that the options of `run` ask for, checked and planned. Sets up this process to compute, and writes
    nothing. Raises UsageError."""
    check_choice("device", device, Device)
    check_choice("executor", executor, ExecutorName)
    check_choice("rerun", rerun, Rerun)
    check_at_least("workers", workers, 1)
    check_at_least("budget", budget, 0.1)
    check_at_least("cell_limit", cell_limit, 0.01)
    for file in list_paths(plugins):
        registry.load_file(file)
    return prepare_run(
        str(user_path(suite)),
        None if out is None else str(user_path(out)),
        device=start_process(device, executor),
        workers=workers,
        rerun=rerun,
        overrides=(*to_overrides(settings), *(["skip_broken=true"] if skip_broken else [])),
        images=images,
        budget=budget,
        executor=executor,
        cell_limit=cell_limit,
    )

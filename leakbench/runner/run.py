"""Prepares a run of a suite, describes it, and executes it.

run = prepare_run("quick", device=start_process("auto"))
execution = run.execute("leakbench run quick")
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from leakbench.measurement.compatibility import check_compatibility
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.runner.description import describe_cells, describe_estimate, describe_groups
from leakbench.runner.executors.base import Executor, Report
from leakbench.runner.extension import extend_run
from leakbench.runner.hosted_start import ask_first
from leakbench.runner.measured_speed import keep_speeds
from leakbench.runner.plan import Plan, Rerun
from leakbench.runner.process import ExecutorName, Placement, check_measurable, place_run
from leakbench.runner.progress import Display
from leakbench.runner.run_lock import lock_run
from leakbench.runner.run_log import append_history, has_current_report, write_failures, write_reports
from leakbench.runner.up_to_date import FinishedRecords
from leakbench.runtime import distributed
from leakbench.runtime.cache.in_use import mark_in_use
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.cache.remote import check_reachable
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import check_writable, remove_temporary_files
from leakbench.runtime.progress import progress
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load
from leakbench.suite.suite import Suite

if TYPE_CHECKING:
    from leakbench.runner.estimate.time_estimate import TimeEstimate


def prepare_run(
    suite: str | Suite,
    out: str | None = None,
    *,
    device: str,
    workers: int | None = None,
    rerun: Rerun = "missing",
    overrides: tuple[str, ...] = (),
    images: bool = True,
    budget: float | None = None,
    executor: ExecutorName = "local",
    cell_limit: float | None = None,
) -> Run:
    """Check what can be checked before anything is computed, and plan the run. Writes nothing. Raises UsageError.

    A folder that holds a run of the suite is added to (leakbench.runner.extension), and with `rerun` "all" replaced.

    - suite: a suite's name or file, or a checked suite; `overrides` and `budget` are of the former alone.
    - out: the folder for the results, else runs/SUITE.
    - device: as `start_process` returned it.
    - workers: processes; None for one a core, or one a CUDA device.
    - images: keep pictures of members beside what copies them.
    - budget: minutes that the run may take on this machine; steps and samples are scaled to fit.
    - cell_limit: minutes that a cell may take; one that takes longer fails. None for no limit.
    """
    checked = load(suite, overrides) if isinstance(suite, str) else suite
    placement = place_run(device, workers, executor)
    folder = Path(out) if out else Path("runs") / checked.file.name
    config = RunConfig(folder, cache_root(), placement.device, images, cell_limit)
    if config.url:
        check_reachable(config.url)
    inputs = RunInputs(checked, config)
    if budget is not None and isinstance(suite, str):
        inputs = _fit_budget(inputs, suite, overrides, budget, placement)
    finished, extension = FinishedRecords(config.out), None
    if rerun != "all":
        extension = extend_run(config.out, inputs.suite, finished)
        inputs = inputs if extension.suite is inputs.suite else inputs.with_suite(extension.suite)
    plan = Plan(ReleaseBuilder(inputs), rerun, extension, finished)
    with progress(f"planning the run of {checked.file.name}"):
        _check(plan)
    return Run(plan, placement, executor)


def _check(plan: Plan) -> None:
    plan.embedding.check()
    check_compatibility(plan.inputs)


def _fit_budget(
    inputs: RunInputs, suite: str, overrides: tuple[str, ...], minutes: float, placement: Placement
) -> RunInputs:
    from leakbench.runner.estimate.budget import fit_to_budget

    check_measurable(placement.device)
    # Measured by one process for all of a group.
    with progress(f"finding how much smaller {suite} has to be to take {minutes:g} minutes"):
        fit = distributed.broadcast(lambda: fit_to_budget(inputs, suite, overrides, minutes, placement.workers))
    return inputs.with_suite(fit)


@dataclass(frozen=True)
class Execution:
    """The end of a run: its failures and its time.

    failures: one line each, by the cell's name. seconds: of cells and reports together. foreseen: seconds that the
    cells of a suite with a budget were estimated to take; None of other suites.
    """

    failures: dict[str, str]
    seconds: float
    foreseen: float | None = None


@dataclass(frozen=True)
class Run:
    """A planned run."""

    plan: Plan
    placement: Placement
    executor: ExecutorName = "local"

    @property
    def inputs(self) -> RunInputs:
        """Suite, data and split."""
        return self.plan.inputs

    @property
    def out(self) -> Path:
        """The folder of the results."""
        return self.inputs.config.out

    def describe(self) -> Iterator[str]:
        """Lines that list the cells, their number, an estimate of time and disk, and what --budget changed."""
        cells, workers, budget = self.plan.cells, self.placement.workers, self.inputs.suite.budget
        yield from self.plan.extension.describe(self.out)
        yield from self.inputs.remarks
        yield from describe_cells(cells, workers, self.out, [row.words for row in budget.empty] if budget else ())
        yield from describe_estimate(*self.estimate(), "by calls that were timed here and now")
        yield from self.announce()
        if budget:
            small = "[small], and of it " if budget.small else ""
            yield f"scaled to a budget of {budget.minutes:g} minutes: {small}steps and samples x{budget.factor:g}"
            for change in budget.changes:
                yield f"  {change.path}: {change.published} -> {change.used}"

    def estimate(self) -> tuple[float, float]:
        """Seconds and bytes, from a few timed network calls on this machine and the number of calls that are left."""
        from leakbench.runner.estimate.time_estimate import estimate_bytes

        check_measurable(self.placement.device)
        cells = self.plan.cells
        with progress("estimating the time that it takes: network calls are timed, attacks are counted"):
            seconds = self._times.seconds(self.inputs, cells, self.placement.workers)
        return seconds, estimate_bytes(self.inputs, cells)

    @cached_property
    def _times(self) -> TimeEstimate:
        """Times of network calls, measured once."""
        from leakbench.runner.estimate.time_estimate import TimeEstimate

        return TimeEstimate(self.inputs)

    def announce(self) -> Iterator[str]:
        """What is to be known before anything is trained: a line for the rows that --budget leaves out, the groups that
        images come in, and a line for each training that a defense around a given model takes: its knobs, and the
        minutes it takes on this machine; and what the calls of a hosted model cost."""
        from leakbench.runner.estimate.given_models import describe_trainings
        from leakbench.runner.estimate.hosted_calls import describe_hosted

        if (budget := self.inputs.suite.budget) and budget.empty:
            yield budget.describe_empty()
        yield from describe_groups(self.inputs)
        yield from describe_trainings(self.inputs, self.plan.cells, lambda: self._times)
        yield from describe_hosted(self.inputs, self.plan.cells)

    def execute(self, command: str) -> Execution:
        """Do the cells and write reports. `command` is kept for the record.

        Raises UsageError, where another command works in the folder or a hosted model gives no first sample, and
        OSError for a full disk or a worker process that was killed.
        """
        _ = self.plan.cells
        distributed.barrier()  # all have their cells before the first process changes what those rest on
        with ExitStack() as lock:
            distributed.broadcast(lambda: self._begin(command, lock))
            return self._lead(command) if distributed.rank() == 0 else self._follow()

    def _begin(self, command: str, lock: ExitStack) -> None:
        """Check and write what a run starts from, from now on alone in its folder."""
        check_writable(self.out, "--out")
        check_writable(self.inputs.config.cache, "cache folder")
        lock.enter_context(lock_run(self.out, command))
        lock.enter_context(mark_in_use(self.inputs.config.cache))
        if self.plan.finished.has_changed():
            raise UsageError(f"{self.out}: another command wrote into it while this one was planned: give it again")
        remove_temporary_files(self.out / "records", self.out / "arrays")
        for line in self.plan.extension.describe(self.out):
            print(f"leakbench: {line}", file=sys.stderr)
        self.plan.write(command)
        if self.plan.rerun == "all":
            self.plan.drop_artefacts()

    def _follow(self) -> Execution:
        """The part of a process of torchrun's that is not the first: it writes and prints nothing."""
        began = time.perf_counter()
        executor = self._build_executor(lambda name, share: None)
        executor.run()
        distributed.destroy_process_group()
        return Execution(executor.failures, time.perf_counter() - began)

    def _lead(self, command: str) -> Execution:
        with distributed.single_process():
            foreseen = self.estimate()[0] if self.inputs.suite.budget else None
            for line in self.announce():
                print(f"leakbench: {line}", file=sys.stderr, flush=True)
            ask_first(self.plan.builder, self.plan.cells)
        began = time.perf_counter()
        with Display(self.plan.cells) as display:
            executor = self._build_executor(display.update)
            display.failures = executor.failures
            try:
                executor.run()
            finally:
                write_failures(self.out, executor.failures)
                seconds = time.perf_counter() - began
                append_history(self.out, command, display.finished, self.placement.workers, seconds)
        distributed.destroy_process_group()
        if self.plan.cells or not has_current_report(self.out):
            write_reports(self.out)
        if self.executor == "local":  # a cluster's nodes are other machines
            keep_speeds(self.inputs, self.plan.cells)
        return Execution(executor.failures, time.perf_counter() - began, foreseen)

    def _build_executor(self, report: Report) -> Executor:
        debug = bool(os.environ.get("LEAKBENCH_DEBUG"))
        if self.executor == "ray":
            from leakbench.runner.executors.ray import RayExecutor

            return RayExecutor(self.plan, report, debug)
        from leakbench.runner.executors.local import LocalExecutor

        return LocalExecutor(self.plan, self.placement.workers, report, debug)

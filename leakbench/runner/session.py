"""One `leakbench run`: plan, progress, reports, and the table at the end."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Literal

from leakbench.measurement.compatibility import check_compatibility
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.run_folder import RunFolder
from leakbench.runner.executors.base import Executor, Report
from leakbench.runner.plan import Plan, Rerun
from leakbench.runner.progress import Display
from leakbench.runtime import distributed, registry
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.cache.remote import check_reachable
from leakbench.runtime.device import devices, kind_of
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import check_writable, write_atomically
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import Suite, load

FORMATS = ("csv", "figures", "md")


class Session:
    """Everything that a run of a suite needs, checked before anything is computed. Raises UsageError."""

    def __init__(
        self,
        suite: str | Suite,
        out: str | None,
        *,
        device: str,
        workers: int | None,
        rerun: Rerun,
        overrides: tuple[str, ...],
        images: bool,
        budget: float | None = None,
        executor: Literal["local", "ray"] = "local",
    ) -> None:
        checked = load(suite, overrides) if isinstance(suite, str) else suite
        self.executor = executor
        self.device, self.workers = _place(device, workers) if executor == "local" else _place_on_ray(device, workers)
        setting = RunConfig(Path(out) if out else Path("runs") / checked.file.name, cache_root(), self.device, images)
        if setting.url:
            check_reachable(setting.url)
        self.inputs = RunInputs(checked, setting)
        if budget is not None and isinstance(suite, str):
            from leakbench.runner.estimate.budget import within

            self._check_measurable()
            # Measured by one process for all of a group.
            fitted = distributed.broadcast(lambda: within(suite, overrides, budget, setting, self.workers).suite)
            self.inputs = self.inputs.with_suite(fitted)
        self.plan = Plan(ReleaseBuilder(self.inputs), rerun)
        self.plan.check_folder()
        self.plan.embedding.check()
        check_compatibility(self.inputs)

    def print_plan(self) -> None:
        """The cells, their number, and an estimate of time and disk."""
        for number, cell in enumerate(self.plan.cells, start=1):
            print(f"{number:4}  {cell.kind:<6}  {cell.description}")
        fits = sum(cell.kind == "fit" for cell in self.plan.cells)
        print(f"{len(self.plan.cells)} cells ({fits} to train), {self.workers} workers, into {self.inputs.config.out}")
        seconds, size = self.estimate()
        print(f"about {max(seconds / 60, 0.1):.1f} minutes and {size / 2**20:.0f} MiB of disk on this machine")
        for line in self.scaled():
            print(line)

    def scaled(self) -> list[str]:
        """What --budget changed, a line each."""
        budget = self.inputs.suite.budget
        if budget is None:
            return []
        said = [f"  {change.path}: {change.published} -> {change.used}" for change in budget.changes]
        small = "[small], and of it " if budget.small else ""
        return [f"scaled to a budget of {budget.minutes:g} minutes: {small}steps and samples x{budget.factor:g}", *said]

    def estimate(self) -> tuple[float, float]:
        """Seconds and bytes, from a few timed network calls on this machine and the number of calls that are left."""
        from leakbench.runner.estimate.time_estimate import TimeEstimate, bytes_of

        self._check_measurable()
        cells = self.plan.cells
        return TimeEstimate().seconds(self.inputs, cells, self.workers), bytes_of(self.inputs, cells)

    def _check_measurable(self) -> None:
        """Times are measured on this machine, which a run on a cluster may have without a GPU."""
        if self.device == "cuda" and kind_of("auto") == "cpu":
            raise UsageError("no CUDA device here to measure on: use --plan and --budget on a machine that has one")

    def run(self, command: str) -> bool:
        """Run, report, and print the table. Returns whether every cell succeeded."""
        cells = self.plan.cells
        distributed.barrier()  # all have their cells before the first process changes what those rest on
        distributed.broadcast(lambda: self._begin(command))
        if distributed.rank() != 0:
            follower = self._executor(lambda name, share: None)
            follower.run()
            distributed.destroy_process_group()
            return not follower.failures
        with distributed.single_process():
            foreseen = f" of about {self.estimate()[0]:.0f} s foreseen" if self.inputs.suite.budget else ""
        out, began = self.inputs.config.out, time.perf_counter()
        with Display(cells) as display:
            runner = self._executor(display.update)
            try:
                runner.run()
            finally:
                self._remember(runner.failures)
                self._note(command, display.finished, time.perf_counter() - began)
        distributed.destroy_process_group()
        if cells or not self._reported():
            for name in FORMATS:
                registry.find("reports", name)(RunFolder(out))
        registry.find("reports", "terminal")(RunFolder(out))
        print(f"{out}/report.md, results.csv, summary.csv, figures/ ({time.perf_counter() - began:.0f} s{foreseen})")
        for failure in runner.failures.values():
            print(f"leakbench: failed: {failure}", file=sys.stderr)
        return not runner.failures

    def _begin(self, command: str) -> None:
        """Check and write what a run starts from."""
        check_writable(self.inputs.config.out, "--out")
        check_writable(self.inputs.config.cache, "cache folder")
        self.plan.write(command)
        if self.plan.rerun == "all":
            self.plan.drop_artefacts()

    def _executor(self, report: Report) -> Executor:
        debug = bool(os.environ.get("LEAKBENCH_DEBUG"))
        if self.executor == "ray":
            from leakbench.runner.executors.ray import RayExecutor

            return RayExecutor(self.plan, report, debug)
        from leakbench.runner.executors.local import LocalExecutor

        return LocalExecutor(self.plan, self.workers, report, debug)

    def _reported(self) -> bool:
        """Whether the last report, which is written after all else, is younger than every record."""
        out = self.inputs.config.out
        records = [path.stat().st_mtime for path in (out / "records").glob("*.json")]
        report = out / "report.md"
        return report.is_file() and report.stat().st_mtime >= max(records, default=0.0)

    def _note(self, command: str, cells: int, seconds: float) -> None:
        """Add a row to history.json: how long a folder took in all cannot be told from its last command."""
        if cells:
            row = {"command": command, "seconds": round(seconds, 1), "cells": cells, "workers": self.workers}
            rows = [*RunFolder(self.inputs.config.out).history, row]
            write_atomically(self.inputs.config.out / "history.json", (json.dumps(rows, indent=1) + "\n").encode())

    def _remember(self, failures: dict[str, str]) -> None:
        path = self.inputs.config.out / "failures.json"
        if failures:
            write_atomically(path, (json.dumps(failures, indent=1) + "\n").encode())
        else:
            path.unlink(missing_ok=True)


def _place(device: str, workers: int | None) -> tuple[str, int]:
    """The device and the number of workers on this machine; each of torchrun's processes is its own worker."""
    kind = kind_of(device)
    own = distributed.init_process_group(kind)
    if distributed.world_size() > 1:
        return own, 1
    return kind, workers or (len(devices(kind)) if kind == "cuda" else cores())


def _place_on_ray(device: str, workers: int | None) -> tuple[str, int]:
    """The device kind, which this machine itself need not have, and how many tasks the cluster can now run at once."""
    from leakbench.runner.executors.ray import resources

    if workers is not None:
        raise UsageError(f"--workers {workers}: is for --executor local; a Ray cluster knows its own cores and GPUs")
    cpus, gpus = resources()
    kind = ("cuda" if gpus else "cpu") if device == "auto" else device
    if kind == "cuda" and not gpus:
        print("leakbench: no node of the Ray cluster has a GPU yet: waiting for one", file=sys.stderr)
    return kind, max(1, gpus if kind == "cuda" else cpus)


def cores() -> int:
    """Cores that this process may use: fewer than the machine has in a container or under a batch scheduler."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

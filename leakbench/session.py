"""One `leakbench run`: plan, progress, reports, and the table at the end."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from leakbench import plugins
from leakbench.device import kind_of
from leakbench.placing import check_places
from leakbench.plan import Cell, Plan, Rerun, folder_of
from leakbench.records import Record, RunFolder, write_atomically
from leakbench.runner import Runner
from leakbench.store import cache_root, check_writable
from leakbench.suite import load
from leakbench.workbench import Setting, Workbench

FORMATS = ("csv", "figures", "md")


class Session:
    """Everything that a run of a suite needs, checked before anything is computed. Raises UsageError."""

    def __init__(
        self,
        suite: str,
        out: str | None,
        *,
        device: str,
        workers: int | None,
        rerun: Rerun,
        overrides: tuple[str, ...],
        images: bool,
    ) -> None:
        checked = load(suite, overrides)
        self.device = kind_of(device)
        setting = Setting(folder_of(out, checked.file.name), cache_root(), self.device, images)
        self.bench = Workbench(checked, setting)
        self.plan = Plan(self.bench, rerun)
        self.workers = workers or (1 if self.device == "cuda" else cores())
        self.plan.check_folder()
        self.plan.embedding.check()
        check_places(self.bench)

    def print_plan(self) -> None:
        """The cells, their number, and an estimate of time and disk."""
        for number, cell in enumerate(self.plan.cells, start=1):
            print(f"{number:4}  {cell.kind:<6}  {cell.words}")
        fits = sum(cell.kind == "fit" for cell in self.plan.cells)
        print(f"{len(self.plan.cells)} cells ({fits} to train), {self.workers} workers, into {self.bench.setting.out}")
        seconds, size = self.estimate()
        print(f"about {max(seconds / 60, 0.1):.1f} minutes and {size / 2**20:.0f} MiB of disk on this machine")

    def estimate(self) -> tuple[float, float]:
        """Seconds and bytes, from a few timed network calls on this machine and the number of calls that are left."""
        from leakbench.estimate import bytes_of, seconds_of

        return seconds_of(self.bench, self.plan.cells) / self.workers, bytes_of(self.bench, self.plan.cells)

    def run(self, command: str) -> bool:
        """Run, report, and print the table. Returns whether every cell succeeded."""
        out = self.bench.setting.out
        check_writable(out, "--out")
        check_writable(self.bench.setting.cache, "cache folder")
        self.plan.write(command)
        if self.plan.rerun == "all":
            self.plan.forget()
        cells, began = self.plan.cells, time.perf_counter()
        with Display(cells) as display:
            runner = Runner(self.plan, self.workers, display.update, debug=bool(os.environ.get("LEAKBENCH_DEBUG")))
            try:
                runner.run()
            finally:
                self._remember(runner.failures)
        if cells or not self._reported():
            for name in FORMATS:
                plugins.find("reports", name)(RunFolder(out))
        plugins.find("reports", "terminal")(RunFolder(out))
        print(f"{out}/report.md, results.csv, summary.csv, figures/ ({time.perf_counter() - began:.0f} s)")
        for failure in runner.failures.values():
            print(f"leakbench: failed: {failure}", file=sys.stderr)
        return not runner.failures

    def _reported(self) -> bool:
        """Whether the last report, which is written after all else, is younger than every record."""
        out = self.bench.setting.out
        records = [path.stat().st_mtime for path in (out / "records").glob("*.json")]
        report = out / "report.md"
        return report.is_file() and report.stat().st_mtime >= max(records, default=0.0)

    def _remember(self, failures: dict[str, str]) -> None:
        import json

        path = self.bench.setting.out / "failures.json"
        if failures:
            write_atomically(path, (json.dumps(failures, indent=1) + "\n").encode())
        else:
            path.unlink(missing_ok=True)


def cores() -> int:
    """Cores that this process may use: fewer than the machine has in a container or under a batch scheduler."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Display:
    """Progress: a bar with the time left on a terminal, a plain line a finished cell elsewhere."""

    def __init__(self, cells: list[Cell]) -> None:
        self.words = {cell.name: cell.words for cell in cells}
        # Bars count work, not cells: training and sampling of a release are far from equal.
        self.weights = {cell.name: {"fit": 10.0, "reader": 1.0, "audit": 3.0}[cell.kind] for cell in cells}
        self.shares = dict.fromkeys(self.words, 0.0)
        self.console = Console()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.began = time.perf_counter()

    def __enter__(self) -> Display:
        self.progress.start()
        self.task = self.progress.add_task("leakbench", total=len(self.words) or 1)
        return self

    def __exit__(self, *_: Any) -> None:
        self.progress.stop()

    def update(self, name: str, share: float) -> None:
        """Take in that a cell has got this far."""
        already = self.shares.get(name, 1.0)
        if share <= already:
            return
        self.shares[name] = share
        total = sum(self.weights.values())
        done = sum(self.weights[cell] * part for cell, part in self.shares.items()) / total * len(self.words)
        self.progress.update(self.task, completed=round(done, 2), description=self.words[name][:40])
        if share >= 1.0 and not self.console.is_terminal:
            finished = sum(part >= 1.0 for part in self.shares.values())
            elapsed = time.perf_counter() - self.began
            print(f"[{finished}/{len(self.words)}] {elapsed:5.0f} s  {self.words[name]}", flush=True)


def record_tables(record: Record) -> list[Table]:
    """A record for the terminal: what it is, its metrics."""
    head = Table(show_header=False, box=None, pad_edge=False)
    for key in (
        "suite",
        "dataset",
        "model",
        "point",
        "defense_params",
        "attack",
        "attack_params",
        "features",
        "access",
        "seed",
        "queries",
        "realised_fpr",
        "flags",
        "claims",
        "info",
        "run",
    ):
        value = getattr(record, key)
        if value not in ("", {}, []):
            head.add_row(key, str(value))
    body = Table(box=None, pad_edge=False)
    for heading in ("metric", "value", "95 % interval", "n"):
        body.add_column(heading)
    for m in record.metrics:
        interval = "" if m.ci_low is None or m.ci_high is None else f"[{m.ci_low:.4g}, {m.ci_high:.4g}]"
        body.add_row(m.name, "n/a" if m.value is None else f"{m.value:.4g}", interval, str(m.n))
    return [head, body]

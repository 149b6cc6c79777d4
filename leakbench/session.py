"""One `leakbench run`: plan, progress, reports, and the table at the end."""

from __future__ import annotations

import os
import sys
import time

from leakbench import plugins
from leakbench.device import kind_of
from leakbench.display import Display
from leakbench.placing import check_places
from leakbench.plan import Plan, Rerun, folder_of
from leakbench.records import RunFolder, write_atomically
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

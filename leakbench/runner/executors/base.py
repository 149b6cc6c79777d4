"""What every executor shares: which cells may start, what failed, and who is told how far it is."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from leakbench.runner.plan import Cell, Plan
from leakbench.runtime import distributed
from leakbench.runtime.files import disk_is_full

Report = Callable[[str, float], None]  # (cell name, share done); a share of 1 is said once, when the cell is done


class Executor(ABC):
    """Does the cells of a plan. `failures` holds the cells that failed, with one line each."""

    def __init__(self, plan: Plan, report: Report, debug: bool = False) -> None:
        self.plan, self.report, self.debug = plan, report, debug
        self.failures: dict[str, str] = {}
        self._waiting: dict[str, Cell] = {}
        self._running: set[str] = set()

    def run(self) -> None:
        """Do every cell. A failed cell fails those that wait for it and no other."""
        self._waiting = {cell.name: cell for cell in self.plan.cells}
        self._run()

    @abstractmethod
    def _run(self) -> None:
        """Start what `_startable` gives and `_settle` it, until nothing waits and nothing runs."""

    def _startable(self) -> Iterator[Cell]:
        """Cells that can start now, in the plan's order, in which training comes before audits. What is taken from
        here counts as running until it is settled; what waited for something that failed fails on the way."""
        for cell in list(self._waiting.values()):
            if any(name in self._waiting or name in self._running for name in cell.after):
                continue
            del self._waiting[cell.name]
            if not self._blocked(cell):
                self._running.add(cell.name)
                yield cell

    def _settle(self, cell: Cell, error: Exception | None = None) -> None:
        """A cell is done, or failed. Raises OSError for a full disk, on which every other cell would fail alike."""
        self._running.discard(cell.name)
        if error is not None:
            self._fail(cell, error)
        self.report(cell.name, 1.0)

    def _blocked(self, cell: Cell) -> bool:
        """Whether something that the cell waits for failed: then so does the cell."""
        for name in cell.after:
            if name in self.failures:
                self.failures[cell.name] = f"waited for what failed: {self.failures[name]}"
                self.report(cell.name, 1.0)
                return True
        return False

    def _fail(self, cell: Cell, error: Exception) -> None:
        if disk_is_full(error):
            raise OSError(f"{cell.words}: the disk is full ({error})") from error
        if distributed.size() > 1:  # the others may be in the middle of it, and wait for this process
            raise SystemExit(f"leakbench: {cell.words}: {type(error).__name__}: {error}") from error
        self.failures[cell.name] = f"{cell.words}: {type(error).__name__}: {error}"
        if self.debug:
            traceback.print_exception(error)

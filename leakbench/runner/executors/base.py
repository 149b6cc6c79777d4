"""The part that all executors share: the order of the cells, failures, and the report of progress."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from leakbench.runner.cell import Cell
from leakbench.runner.cell_queue import CellQueue
from leakbench.runner.plan import Plan
from leakbench.runtime import distributed
from leakbench.runtime.errors import in_a_line, is_out_of_memory
from leakbench.runtime.files import disk_is_full

LESS_MEMORY = "fewer --workers, and smaller batches, need less memory"
Report = Callable[[str, float], None]  # (cell name, share done); a share of 1 is reported once, when the cell is done


class Executor(ABC):
    """Does the cells of a plan. `failures` holds one line for each cell that failed."""

    def __init__(self, plan: Plan, report: Report, debug: bool = False) -> None:
        self.plan, self.report, self.debug = plan, report, debug
        self.failures: dict[str, str] = {}

    def run(self) -> None:
        """Do every cell. A failed cell fails those that depend on it and no other. Raises ValueError for a plan whose
        dependencies are no cells, or circular."""
        self._queue = CellQueue(self.plan.cells)
        self._run()

    @abstractmethod
    def _run(self) -> None:
        """Do what `ready_cells` yields, and `mark_done` it, while `has_cells_left`."""

    @property
    def has_cells_left(self) -> bool:
        """True while some cell waits or runs."""
        return self._queue.has_cells_left

    def ready_cells(self) -> Iterator[Cell]:
        """Cells that can start now, in the plan's order. What depends on a failed cell fails here instead."""
        while cell := self._queue.pop():
            if not self._fails_with_a_dependency(cell):
                yield cell

    def mark_done(self, cell: Cell, error: Exception | None = None) -> None:
        """Take in that a cell is done, or failed. Raises OSError for a full disk, on which all others would fail."""
        if error is not None:
            self._fail(cell, error)
        self._queue.mark_done(cell)
        self.report(cell.name, 1.0)

    def _fails_with_a_dependency(self, cell: Cell) -> bool:
        failed = next((name for name in cell.depends_on if name in self.failures), None)
        if failed is None:
            return False
        self.failures[cell.name] = f"waited for what failed: {self.failures[failed]}"
        self.mark_done(cell)
        return True

    def _fail(self, cell: Cell, error: Exception) -> None:
        if disk_is_full(error):
            raise OSError(f"{cell.description}: the disk is full ({error})") from error
        line = f"{cell.description}: {in_a_line(error)}"
        if is_out_of_memory(error):
            line += f"; {LESS_MEMORY}"
        if distributed.world_size() > 1:  # the others may be in the middle of it, and wait for this process
            raise SystemExit(f"leakbench: {line}") from error
        self.failures[cell.name] = line
        if self.debug:
            traceback.print_exception(error)

"""The order in which cells may start: each behind what it depends on, and otherwise as the plan lists them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from leakbench.runner.cell import Cell


class CellQueue:
    """Gives out cells whose dependencies are done. Raises ValueError for a dependency that is none of the cells, and
    for cells that depend on one another in a circle."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells
        self._numbers = {cell.name: number for number, cell in enumerate(cells)}
        for cell in cells:
            for name in cell.depends_on:
                if name not in self._numbers:
                    raise ValueError(f"{cell.description}: depends on {name!r}, which is neither a cell nor finished")
        self._sorter = TopologicalSorter({cell.name: cell.depends_on for cell in cells})
        try:
            self._sorter.prepare()
        except CycleError as error:
            circle = " -> ".join(cells[self._numbers[name]].description for name in error.args[1])
            raise ValueError(f"cells depend on one another in a circle: {circle}") from None
        self._ready: list[int] = []

    @property
    def has_cells_left(self) -> bool:
        """True until every cell is done."""
        return self._sorter.is_active()

    def pop(self) -> Cell | None:
        """The first cell that can start now, or None while all others wait for cells that are not done."""
        for name in self._sorter.get_ready():
            heapq.heappush(self._ready, self._numbers[name])
        return self._cells[heapq.heappop(self._ready)] if self._ready else None

    def mark_done(self, cell: Cell) -> None:
        """Take in that a cell is done: those that waited for nothing else can start."""
        self._sorter.done(cell.name)


def order_cells(cells: Sequence[Cell]) -> list[Cell]:
    """The cells in the order in which one worker would do them."""
    queue, ordered = CellQueue(cells), list[Cell]()
    while cell := queue.pop():
        ordered.append(cell)
        queue.mark_done(cell)
    return ordered

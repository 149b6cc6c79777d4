"""Shows the progress of a run: a bar on a terminal, a line for each finished cell elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from leakbench.runner.cell import Cell
from leakbench.runtime.progress import progress


class Display:
    """A progress bar with the time left on a terminal, or a plain line for each cell that is finished or failed.

    failures: by the cell's name, as the executor takes them in.
    """

    def __init__(self, cells: list[Cell]) -> None:
        self.failures: Mapping[str, str] = {}
        self.descriptions = {cell.name: cell.description for cell in cells}
        # Bars count work, not cells: training and sampling of a release are far from equal.
        self.weights = {cell.name: {"fit": 10.0, "reader": 1.0, "audit": 3.0}[cell.kind] for cell in cells}
        self.shares = dict.fromkeys(self.descriptions, 0.0)
        self._spoken = ExitStack()
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
        if not self.console.is_terminal:
            self._spoken.enter_context(progress(self._tell))
        self.task = self.progress.add_task("leakbench", total=len(self.descriptions) or 1)
        return self

    def __exit__(self, *_: Any) -> None:
        self._spoken.close()
        self.progress.stop()

    def _tell(self) -> str:
        """How far it is: cells that are done, and how far the others are that have begun."""
        begun = [f"{self.descriptions[cell]} {part:.0%}" for cell, part in self.shares.items() if 0 < part < 1]
        return f"{self.finished} of {len(self.descriptions)} cells are done{''.join(f', {one}' for one in begun)}"

    def update(self, name: str, share: float) -> None:
        """Take in that a cell has got this far."""
        already = self.shares.get(name, 1.0)
        if share <= already:
            return
        self.shares[name] = share
        total = sum(self.weights.values())
        done = sum(self.weights[cell] * part for cell, part in self.shares.items()) / total * len(self.descriptions)
        self.progress.update(self.task, completed=round(done, 2), description=self.descriptions[name][:40])
        if share >= 1.0 and not self.console.is_terminal:
            elapsed, ended = time.perf_counter() - self.began, self.finished + len(self.failures)
            said = f"{self.descriptions[name]}{': failed' * (name in self.failures)}"
            print(f"[{ended}/{len(self.descriptions)}] {elapsed:5.0f} s  {said}", flush=True)

    @property
    def finished(self) -> int:
        """Cells that are done, and did not fail."""
        return sum(part >= 1.0 and name not in self.failures for name, part in self.shares.items())

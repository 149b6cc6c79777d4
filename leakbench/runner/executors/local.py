"""Runs a plan on this machine: in this process, or on local workers, one process a core with one thread each.

Two intra-op threads make small networks slower (benchmarks/speed/test_threads.py), so a CPU run takes its parallelism
from processes; a CUDA run has one a device. The results do not depend on how many there are. A worker that finds its
parent gone stops by itself. No worker imports the script that a run was started from.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, islice
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import Empty
from types import ModuleType
from typing import Any

import torch

from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.runner.cell import Cell
from leakbench.runner.executors.base import LESS_MEMORY, Executor, Report
from leakbench.runner.executors.time_limit import can_limit_time, timed_out
from leakbench.runner.executors.transport import make_picklable, pack_suite, unpack_suite
from leakbench.runner.executors.worker import Worker
from leakbench.runner.plan import Plan
from leakbench.runtime import registry
from leakbench.runtime.device import devices, prepare
from leakbench.runtime.errors import UsageError

_PATIENCE = 120.0  # seconds after a cell's time limit that its worker has to start, to interrupt it and to tidy up


class LocalExecutor(Executor):
    """Does the cells of a plan on `workers` processes; a single worker is this process itself."""

    def __init__(self, plan: Plan, workers: int, report: Report, debug: bool = False) -> None:
        super().__init__(plan, report, debug)
        self.workers, self._limit = workers, plan.builder.inputs.config.cell_limit

    def _run(self) -> None:
        if self.workers <= 1 or len(self.plan.cells) <= 1:
            self._in_process()
        else:
            self._on_workers()

    def _in_process(self) -> None:
        if self._limit is not None and not can_limit_time():
            raise UsageError("cell_limit: one worker needs the main thread to interrupt a cell; give workers=2")
        worker = Worker(self.plan.builder)
        for cell in self.ready_cells():
            try:
                worker.do(cell, lambda share, cell=cell: self.report(cell.name, share))  # type: ignore[misc]
            except Exception as error:
                self.mark_done(cell, error)
            else:
                self.mark_done(cell)

    def _on_workers(self) -> None:
        builder, context = self.plan.builder, _RecordingContext()
        shares: Any = context.Queue()
        device_names: Any = context.Queue()  # a device for each worker, in turn
        for name in islice(cycle(devices(builder.inputs.device.type)), self.workers):
            device_names.put(name)
        start = (
            os.getpid(),
            pack_suite(builder.inputs.suite, builder.inputs.config),
            registry.loaded_files(),
            shares,
            device_names,
        )
        pool = ProcessPoolExecutor(self.workers, context, _start_worker, start)
        try:
            self._feed(pool, shares)
        except BrokenProcessPool:  # found when a cell is handed out
            raise _worker_killed() from None
        except (KeyboardInterrupt, ChildProcessError):
            for worker in context.started:  # in the middle of a training, which nobody waits for
                worker.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _feed(self, pool: ProcessPoolExecutor, shares: Any) -> None:
        running: dict[Future[None], Cell] = {}
        began: dict[str, float] = {}
        while self.has_cells_left:
            # No more is handed out than can start now, so that training that others wait for never queues behind an
            # audit.
            for cell in islice(self.ready_cells(), self.workers - len(running)):
                with _ignore_signals(), _hide_script():  # a worker may start here, and it inherits both
                    running[pool.submit(_do_cell, cell)] = cell
                began[cell.name] = time.monotonic()
            self._check_answers(running.values(), began)
            done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            self._listen(shares)
            for future in done:
                self._finish(running.pop(future), future)

    def _check_answers(self, running: Iterable[Cell], began: dict[str, float]) -> None:
        """Raise ChildProcessError for a cell that goes on long after its worker had to interrupt it: it hangs in the
        middle of a call of a library, and its worker is lost."""
        if self._limit is None:
            return
        for cell in running:
            if time.monotonic() - began[cell.name] > 60.0 * self._limit + _PATIENCE:
                raise ChildProcessError(f"{cell.description}: {timed_out(self._limit)}, and cannot be interrupted")

    def _finish(self, cell: Cell, future: Future[None]) -> None:
        try:
            future.result()
        except BrokenProcessPool:
            raise _worker_killed() from None
        except Exception as error:
            self.mark_done(cell, error)
        else:
            self.mark_done(cell)

    def _listen(self, shares: Any) -> None:
        while True:
            try:
                self.report(*shares.get_nowait())
            except Empty:
                return


def _worker_killed() -> ChildProcessError:
    return ChildProcessError(f"a worker process was killed (out of memory?); {LESS_MEMORY}")


class _RecordingContext(SpawnContext):
    """Starts processes by spawning them, and keeps them in `started`: a caller's other children are not ours to end."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[BaseProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> BaseProcess:  # type: ignore[override]
        """A process that is not started yet; the pool starts it."""
        process = super().Process(*args, **kwargs)
        self.started.append(process)
        return process


@contextmanager
def _ignore_signals() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM for a moment. A worker that starts in it ignores them for good: a terminal and a batch
    system send them to all processes of a job, and one answers, the parent."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    except ValueError:  # not in the main thread, where no signal arrives either
        yield
        return
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _hide_script() -> Iterator[None]:
    """Hide the program's main script for a moment. A worker that starts in it does not import the script, which it
    needs nothing of: one that calls leakbench.run and has no `if __name__ == "__main__"` would start itself again."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


_worker: Worker | None = None
_shares: Any = None


def _start_worker(parent: int, suite: bytes, files: list[Path], shares: Any, device_names: Any) -> None:
    global _worker, _shares
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    for file in files:
        registry.load_file(file)
    checked, packed = unpack_suite(suite)
    config = replace(packed, device=device_names.get())
    prepare(torch.device(config.device))
    _worker, _shares = Worker(ReleaseBuilder(RunInputs(checked, config))), shares


def _exit_with_parent(parent: int) -> None:
    """A killed parent leaves no orphan computing: the next run would do the same work beside it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _do_cell(cell: Cell) -> None:
    assert _worker is not None
    try:
        _worker.do(cell, lambda share: _shares.put((cell.name, min(share, 0.99))))
    except Exception as error:
        raise make_picklable(error) from None

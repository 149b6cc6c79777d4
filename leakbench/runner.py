"""Runs a plan: in this process, or on local workers, one process a core with one thread each.

Two intra-op threads make small networks slower (benchmarks/speed/test_threads.py), so a CPU run takes its parallelism
from processes. The results do not depend on how many there are. A worker that finds its parent gone stops by itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

from leakbench import plugins
from leakbench.plan import Cell, Plan
from leakbench.store import disk_is_full
from leakbench.suite import Suite
from leakbench.workbench import Setting, Workbench

Report = Callable[[str, float], None]  # (cell name, share done); a share of 1 is said once, when the cell is done


class Runner:
    """Does the cells of a plan. `failures` holds the cells that failed, with one line each."""

    def __init__(self, plan: Plan, workers: int, report: Report, debug: bool = False) -> None:
        self.plan, self.workers, self.report, self.debug = plan, workers, report, debug
        self.failures: dict[str, str] = {}

    def run(self) -> None:
        """Do every cell. A failed cell fails those that wait for it and no other."""
        if self.workers <= 1 or len(self.plan.cells) <= 1:
            self._in_process()
        else:
            self._on_workers()

    def _in_process(self) -> None:
        worker = Worker(self.plan.bench)
        for cell in self.plan.cells:
            if self._blocked(cell):
                continue
            try:
                worker.do(cell, lambda share, cell=cell: self.report(cell.name, share))  # type: ignore[misc]
            except Exception as error:
                self._fail(cell, error)
            self.report(cell.name, 1.0)

    def _on_workers(self) -> None:
        bench = self.plan.bench
        context = multiprocessing.get_context("spawn")
        news: Any = context.Queue()
        start = (os.getpid(), bench.suite, bench.setting, plugins.loaded_files(), news)
        waiting = {cell.name: cell for cell in self.plan.cells}
        running: dict[Future[None], Cell] = {}
        pool = ProcessPoolExecutor(self.workers, context, _start_worker, _pickled(start))
        try:
            while waiting or running:
                # In the plan's order, training comes before audits: no more is handed out than can start now, so that
                # training that others wait for never queues behind an audit.
                for cell in [cell for cell in waiting.values() if self._ready(cell, waiting, running)]:
                    if len(running) == self.workers:
                        break
                    del waiting[cell.name]
                    if not self._blocked(cell):
                        with _uninterrupted():  # a worker may start here, and it inherits this
                            running[pool.submit(_do, cell)] = cell
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                self._listen(news)
                for future in done:
                    self._finish(running.pop(future), future)
        except KeyboardInterrupt:
            for worker in multiprocessing.active_children():  # in the middle of a training, which nobody waits for
                worker.terminate()
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        pool.shutdown()

    def _ready(self, cell: Cell, waiting: dict[str, Cell], running: dict[Future[None], Cell]) -> bool:
        busy = {other.name for other in running.values()}
        return not any(name in waiting or name in busy for name in cell.after)

    def _finish(self, cell: Cell, future: Future[None]) -> None:
        try:
            future.result()
        except BrokenProcessPool:
            raise SystemExit(
                "leakbench: a worker process was killed (out of memory?); run the same command to go on"
            ) from None
        except Exception as error:
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
        if disk_is_full(error):  # every other cell would fail alike
            raise OSError(f"{cell.words}: the disk is full ({error})") from error
        self.failures[cell.name] = f"{cell.words}: {type(error).__name__}: {error}"
        if self.debug:
            traceback.print_exception(error)

    def _listen(self, news: Any) -> None:
        while True:
            try:
                self.report(*news.get_nowait())
            except Empty:
                return


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C for a moment. A worker that starts in it ignores it for good: one process answers, the parent."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread, where no signal arrives either
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Worker:
    """Does cells, one after the other, keeping what it has loaded."""

    def __init__(self, bench: Workbench) -> None:
        from leakbench.embedding import Embedding

        self.bench, self.embedding = bench, Embedding(bench)

    def do(self, cell: Cell, progress: Callable[[float], None]) -> None:
        """Do one cell."""
        from leakbench.audit import Audit

        if cell.kind == "reader":
            _ = self.embedding.features
        elif cell.kind == "fit":
            self.bench.train(cell.chain, cell.seed, cell.needs, progress)
        else:
            assert cell.point is not None
            audit = Audit(self.bench, self.embedding, cell.point, cell.seed)
            for done, _ in enumerate(audit.run(list(cell.rows)), start=1):
                progress(min(0.99, done / len(cell.rows)))


_worker: Worker | None = None
_news: Any = None


def _pickled(start: tuple[int, Suite, Setting, list[Path], Any]) -> tuple[Any, ...]:
    """The start of a worker: the suite is pickled by hand, as its plugins' files must be loaded before it is read."""
    import pickle

    parent, suite, setting, files, news = start
    return parent, pickle.dumps((suite, setting)), files, news


def _start_worker(parent: int, pickled: bytes, files: list[Path], news: Any) -> None:
    import pickle

    global _worker, _news
    threading.Thread(target=_stop_with, args=(parent,), daemon=True).start()
    for file in files:
        plugins.load_file(file)
    suite, setting = pickle.loads(pickled)  # our own bytes, from our own parent process
    _worker, _news = Worker(Workbench(suite, setting)), news


def _stop_with(parent: int) -> None:
    """A killed parent leaves no orphan computing: the next run would do the same work beside it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _do(cell: Cell) -> None:
    assert _worker is not None
    try:
        _worker.do(cell, lambda share: _news.put((cell.name, min(share, 0.99))))
    except Exception as error:
        raise _portable(error) from None


def _portable(error: Exception) -> Exception:
    """The error, or its words if it does not survive the way to the parent process (that would break the pool)."""
    import pickle

    try:
        return pickle.loads(pickle.dumps(error)) and error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")

"""What runs on a node of the cluster: one cell, and the news of it on the way back.

A Ray task that is a generator: what it yields is on its way to the command's machine at once, so that a record made
before the node died is kept. The cell itself runs on a thread beside it. Records are written into a scratch folder as a
local run writes them, and travel as the bytes of their files.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import torch

from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.release_audit import RecordSpec
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.record import Record
from leakbench.runner.executors.node_check import difference, fingerprint
from leakbench.runner.executors.worker import Worker, portable, unpacked
from leakbench.runtime import registry
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.device import prepare


@dataclass(frozen=True)
class Start:
    """What a node must know of a run before its first cell. Pickled parts name classes of plugins, which come first."""

    run: str
    plugins: tuple[tuple[str, str, bytes], ...]  # module name, file name, source
    suite: bytes
    marker: Path  # a file in the cache folder, by which a node sees that it shares it
    folder: Path  # where the command was typed: relative paths (npz:mine.npz) start there
    environment: dict[str, str]
    fingerprint: dict[str, str]


@dataclass(frozen=True)
class TaskProgress:
    """How much of the cell is done, 0 to 0.99."""

    done: float


@dataclass(frozen=True)
class RecordWritten:
    """A record: its row, whether it stands (one with NaN is to be made again), and its files, in order."""

    row: RecordSpec
    stands: bool
    files: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class TaskFinished:
    """The last news: the cell is done, or failed. `said`: what it printed on stderr."""

    error: Exception | None
    said: str = ""


class IncompatibleNode(Exception):
    """This node cannot do any cell of this run."""


News = TaskProgress | RecordWritten | TaskFinished


def do(start: Start, cell: bytes) -> Iterator[News]:
    """Do one pickled cell."""
    box: SimpleQueue[News] = SimpleQueue()
    threading.Thread(target=lambda: box.put(_end(start, cell, box.put)), daemon=True).start()
    while True:
        news = box.get()
        yield news
        if isinstance(news, TaskFinished):
            return


def _end(start: Start, cell: bytes, tell: Callable[[News], None]) -> TaskFinished:
    said, error = io.StringIO(), None
    with contextlib.redirect_stderr(said):
        try:
            worker = _worker_of(start)
            deliver = partial(_deliver, worker.builder.inputs.config.out, tell)
            worker.do(pickle.loads(cell), _seldom(tell), deliver)  # our own bytes, from the command's machine
        except (Exception, SystemExit) as caught:
            error = portable(caught) if isinstance(caught, Exception) else RuntimeError(str(caught))
            if os.environ.get("LEAKBENCH_DEBUG"):
                traceback.print_exc()
    return TaskFinished(error, said.getvalue())


_workers: dict[str, Worker] = {}  # by run; at most one, as a process serves one run


def _worker_of(start: Start) -> Worker:
    if start.run not in _workers:
        _workers[start.run] = Worker(_release_builder(start))
    return _workers[start.run]


def _release_builder(start: Start) -> ReleaseBuilder:
    os.environ.update(start.environment)
    with contextlib.suppress(OSError):
        os.chdir(start.folder)
    scratch = Path(tempfile.mkdtemp(prefix="leakbench-"))
    for module, name, source in start.plugins:
        (scratch / name).write_bytes(source)
        registry.load_file(scratch / name, module)
    suite, setting = unpacked(start.suite)
    if setting.url:
        setting = replace(setting, cache=cache_root())  # the node's own
    else:
        os.environ["LEAKBENCH_CACHE"] = str(setting.cache)  # weights are looked for there, too
        if not start.marker.is_file():
            raise IncompatibleNode(
                f"node {os.uname().nodename} does not see the cache folder {setting.cache} of this run: let "
                "LEAKBENCH_CACHE name a folder that all nodes share, or a URL such as s3://bucket/folder"
            )
    prepare(torch.device(setting.device))
    builder = ReleaseBuilder(RunInputs(suite, replace(setting, out=scratch)))
    if wrong := difference(fingerprint(builder), start.fingerprint):
        raise IncompatibleNode(wrong)
    return builder


def _seldom(tell: Callable[[News], None]) -> Callable[[float], None]:
    """Tell shares at most once a second."""
    told = time.monotonic()

    def progress(share: float) -> None:
        nonlocal told
        if time.monotonic() - told >= 1.0:
            told = time.monotonic()
            tell(TaskProgress(min(share, 0.99)))

    return progress


def _deliver(folder: Path, tell: Callable[[News], None], row: RecordSpec, record: Record) -> None:
    """Send a record's files, arrays first as they are written, and forget them here."""
    names = [f"arrays/{record.stem}.npz"] if record.arrays else []
    files = tuple((name, (folder / name).read_bytes()) for name in [*names, f"records/{record.stem}.json"])
    for name, _ in files:
        (folder / name).unlink()
    tell(RecordWritten(row, "non-finite" not in record.flags, files))

"""The Ray task that does one cell on a node of the cluster, and the messages that it sends back.

The task is a generator: what it yields is on its way to the command's machine at once, so that a record made before the
node died is kept. The cell itself runs on a thread beside it. Records are written into a scratch folder as a local run
writes them, and travel as the bytes of their files.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

import torch

from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.record import Record
from leakbench.runner.executors.node_check import compute_fingerprint, find_difference
from leakbench.runner.executors.time_limit import timed_out
from leakbench.runner.executors.transport import make_picklable, unpack_suite
from leakbench.runner.executors.worker import Worker
from leakbench.runtime import registry
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.device import prepare
from leakbench.runtime.scratch import make_scratch, remove_scratch


@dataclass(frozen=True)
class RunSetup:
    """Everything a node needs of a run before its first cell. Plugins come first: pickled parts name their classes."""

    run: str
    plugins: tuple[tuple[str, str, bytes], ...]  # module name, file name, source
    suite: bytes
    marker: Path  # a file in the cache folder, by which a node sees that it shares it
    folder: Path  # where the command was typed: relative paths (npz:mine.npz) start there
    environment: dict[str, str]
    fingerprint: dict[str, str]
    cell_limit: float | None = None  # minutes


@dataclass(frozen=True)
class TaskProgress:
    """The share of the cell that is done, 0 to 0.99."""

    done: float


@dataclass(frozen=True)
class RecordWritten:
    """A record and its files, in order. `complete`: false for one with NaN, which is to be made again."""

    spec: RecordSpec
    complete: bool
    files: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class TaskFinished:
    """The last message: the cell is done, or failed. `stderr`: the text that it printed there."""

    error: Exception | None
    stderr: str = ""


class IncompatibleNode(Exception):
    """This node cannot do any cell of this run."""


Message = TaskProgress | RecordWritten | TaskFinished


def do_cell(setup: RunSetup, cell: bytes) -> Iterator[Message]:
    """Do one pickled cell. One that takes longer than its limit fails, and with it ends the process in which its thread
    goes on."""
    box: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=lambda: box.put(_do_cell(setup, cell, box.put)), daemon=True).start()
    end = None if setup.cell_limit is None else time.monotonic() + 60.0 * setup.cell_limit
    while True:
        try:
            message = box.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
        except Empty:
            assert setup.cell_limit is not None
            yield TaskFinished(timed_out(setup.cell_limit))
            _end_process()
            return
        yield message
        if isinstance(message, TaskFinished):
            return


def _end_process() -> None:
    time.sleep(2.0)  # until the last message is on its way
    remove_scratch()
    os._exit(1)


def _do_cell(setup: RunSetup, cell: bytes, send: Callable[[Message], None]) -> TaskFinished:
    stderr, error = io.StringIO(), None
    with contextlib.redirect_stderr(stderr):
        try:
            worker = _get_worker(setup)
            deliver = partial(_send_record, worker.builder.inputs.config.out, send)
            worker.do(pickle.loads(cell), _throttle(send), deliver)  # our own bytes, from the command's machine
        except (Exception, SystemExit) as caught:
            error = make_picklable(caught) if isinstance(caught, Exception) else RuntimeError(str(caught))
            if os.environ.get("LEAKBENCH_DEBUG"):
                traceback.print_exc()
    return TaskFinished(error, stderr.getvalue())


_workers: dict[str, Worker] = {}  # by run; at most one, as a process serves one run


def _get_worker(setup: RunSetup) -> Worker:
    if setup.run not in _workers:
        _workers[setup.run] = Worker(_build_release_builder(setup))
    return _workers[setup.run]


def _build_release_builder(setup: RunSetup) -> ReleaseBuilder:
    os.environ.update(setup.environment)
    with contextlib.suppress(OSError):
        os.chdir(setup.folder)
    scratch = make_scratch()
    for module, name, source in setup.plugins:
        (scratch / name).write_bytes(source)
        registry.load_file(scratch / name, module)
    suite, config = unpack_suite(setup.suite)
    if config.url:
        config = replace(config, cache=cache_root())  # the node's own
    else:
        os.environ["LEAKBENCH_CACHE"] = str(config.cache)  # weights are looked for there, too
        if not setup.marker.is_file():
            raise IncompatibleNode(
                f"node {os.uname().nodename} does not see the cache folder {config.cache} of this run: let "
                "LEAKBENCH_CACHE name a folder that all nodes share, or a URL such as s3://bucket/folder"
            )
    prepare(torch.device(config.device))
    builder = ReleaseBuilder(RunInputs(suite, replace(config, out=scratch)))
    if wrong := find_difference(compute_fingerprint(builder), setup.fingerprint):
        raise IncompatibleNode(wrong)
    return builder


def _throttle(send: Callable[[Message], None]) -> Callable[[float], None]:
    """A progress function that sends shares at most once a second."""
    last = time.monotonic()

    def progress(share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= 1.0:
            last = time.monotonic()
            send(TaskProgress(min(share, 0.99)))

    return progress


def _send_record(folder: Path, send: Callable[[Message], None], spec: RecordSpec, record: Record) -> None:
    """Send a record's files, arrays first as they are written, and delete them here."""
    names = [f"arrays/{record.stem}.npz"] if record.arrays else []
    files = tuple((name, (folder / name).read_bytes()) for name in [*names, f"records/{record.stem}.json"])
    for name, _ in files:
        (folder / name).unlink()
    send(RecordWritten(spec, "non-finite" not in record.flags, files))

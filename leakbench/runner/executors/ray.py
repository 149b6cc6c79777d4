"""Runs a plan on an existing Ray cluster: each cell is a task with one GPU, or with one core and one thread.

Whatever can start is handed to the cluster at once: its own queue knows which nodes come and go, and an autoscaler sees
what waits. A cell whose node was lost is handed out again, without the records that had already arrived; Ray's own
retries are off, as they would repeat those. Errors of ours (an attack that raises) are no lost node: they fail the
cell, as in a local run. Artefacts travel through the cache that the nodes share, records come back as bytes and are
written here.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from leakbench.measurement.record_contents import RecordSpec
from leakbench.runner.cell import Cell
from leakbench.runner.executors.base import Executor
from leakbench.runner.executors.node_check import compute_fingerprint
from leakbench.runner.executors.ray_task import (
    IncompatibleNode,
    Message,
    RecordWritten,
    RunSetup,
    TaskFinished,
    TaskProgress,
    do_cell,
)
from leakbench.runner.executors.transport import pack_suite
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically

_TRIES = 5  # nodes that a cell may lose in a row without sending a record: more, and it is the cell that kills them


class NodeLost(Exception):
    """A cell lost its node again and again."""


class RayExecutor(Executor):
    """Does the cells of a plan on a Ray cluster."""

    def _run(self) -> None:
        self._lost: Counter[str] = Counter()
        self._written: set[tuple[str, RecordSpec]] = set()
        with connected() as ray, self._marker() as marker:
            needs = {"num_gpus": 1} if self.plan.builder.inputs.device.type == "cuda" else {"num_cpus": 1}
            self._task = ray.remote(**needs, num_returns="streaming", max_retries=0)(do_cell)
            self._setup = ray.put(self._build_setup(marker))
            running: dict[Any, Cell] = {}
            try:
                self._feed(ray, running)
            except ray.exceptions.RayError as error:
                raise OSError(f"the Ray cluster is gone ({_first_line(error)})") from error
            finally:
                for task in running:  # after Ctrl-C or an error that ends the run
                    with suppress(Exception):
                        ray.cancel(task, force=True)

    def _feed(self, ray: Any, running: dict[Any, Cell]) -> None:
        while self.has_cells_left:
            for cell in self.ready_cells():
                running[self._submit(cell)] = cell
            some, _ = ray.wait(list(running), num_returns=1, timeout=0.5) if running else ([], [])
            ready, _ = ray.wait(list(running), num_returns=len(running), timeout=0) if some else ([], [])
            for task in ready:
                cell = running.pop(task)
                try:
                    has_more = self._handle(cell, ray.get(next(task)))
                except ray.exceptions.RayTaskError as error:  # not a cell's error, which would come as a message
                    raise UsageError(
                        f"a node cannot run leakbench ({_last_line(error)}): install the same on every node"
                    ) from None
                except ray.exceptions.RayError as error:
                    self._resubmit(cell, error, running)
                else:
                    if has_more:
                        running[task] = cell

    def _handle(self, cell: Cell, message: Message) -> bool:
        """Take in a message from a cell. Returns true if there will be more."""
        match message:
            case TaskProgress(done):
                self.report(cell.name, done)
            case RecordWritten(spec, complete, files):
                for name, data in files:
                    write_atomically(self.plan.out / name, data)
                if complete:
                    self._written.add((cell.name, spec))
                self._lost.pop(cell.name, None)
            case TaskFinished(error, stderr):
                print(stderr, end="", file=sys.stderr)
                if isinstance(error, IncompatibleNode):
                    raise UsageError(str(error))
                self.mark_done(cell, error)
                return False
        return True

    def _submit(self, cell: Cell) -> Any:
        left = tuple(spec for spec in cell.records if (cell.name, spec) not in self._written)
        return self._task.options(name=cell.description).remote(self._setup, pickle.dumps(replace(cell, records=left)))

    def _resubmit(self, cell: Cell, error: Exception, running: dict[Any, Cell]) -> None:
        """The node of a cell was lost: hand the cell out again, or give it up."""
        self._lost[cell.name] += 1
        if self._lost[cell.name] >= _TRIES:
            self.mark_done(cell, NodeLost(f"its node was lost {_TRIES} times, at last: {_first_line(error)}"))
        elif cell.records and all((cell.name, spec) in self._written for spec in cell.records):
            self.mark_done(cell)  # all but its last message had arrived
        else:
            why = type(error).__name__
            print(
                f"leakbench: {cell.description}: its node was lost ({why}); doing it again on another", file=sys.stderr
            )
            running[self._submit(cell)] = cell

    def _build_setup(self, marker: Path) -> RunSetup:
        builder = self.plan.builder
        setting = replace(builder.inputs.config, cache=builder.inputs.config.cache.absolute())
        ours = {key: value for key, value in os.environ.items() if key.startswith("LEAKBENCH_")}
        return RunSetup(
            run=uuid.uuid4().hex,
            plugins=tuple((registry.name_plugin_module(p), p.name, p.read_bytes()) for p in registry.loaded_files()),
            suite=pack_suite(builder.inputs.suite, setting),
            marker=marker.absolute(),
            folder=Path.cwd(),
            environment={k: v for k, v in ours.items() if k != "LEAKBENCH_CACHE"}
            | {k: os.environ[k] for k in ("HF_HUB_OFFLINE",) if k in os.environ},
            fingerprint=compute_fingerprint(builder),
            cell_limit=setting.cell_limit,
        )

    @contextmanager
    def _marker(self) -> Iterator[Path]:
        """A file in the cache folder, while the run lasts."""
        marker = self.plan.builder.inputs.config.cache / f".run-{uuid.uuid4().hex}"
        marker.touch()
        try:
            yield marker
        finally:
            marker.unlink(missing_ok=True)


@contextmanager
def connected() -> Iterator[Any]:
    """Ray, connected to the running cluster ($RAY_ADDRESS, or the one of this machine). Raises UsageError."""
    try:
        import ray
    except ImportError:
        raise UsageError("--executor ray: Ray is not installed; `pip install 'leakbench[ray]'`") from None
    _check_address(os.environ.get("RAY_ADDRESS", ""))
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # ConnectionError where there is none, RuntimeError for another Python or Ray
        raise UsageError(
            f"--executor ray: no connection to a Ray cluster ({_first_line(error)}); start one with `ray start --head` "
            "on this machine, or set RAY_ADDRESS"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise UsageError for an address that cannot be used. Ray itself would knock at a closed door for many minutes."""
    if address.startswith("ray://"):
        raise UsageError(
            f"RAY_ADDRESS={address}: Ray Client cannot carry a run; type the command on a node of the cluster, or hand "
            "it in with `ray job submit`"
        )
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except OSError as error:
            raise UsageError(
                f"RAY_ADDRESS={address}: no Ray cluster answers there ({error.strerror or error}); start one with `ray "
                "start --head`, or name another"
            ) from None


def resources() -> tuple[int, int]:
    """Cores and GPUs that the cluster has now. Raises UsageError."""
    with connected() as ray:
        found = ray.cluster_resources()
    return int(found.get("CPU", 0)), int(found.get("GPU", 0))


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _last_line(error: BaseException) -> str:
    return next(iter(reversed(str(error).strip().splitlines())), type(error).__name__)

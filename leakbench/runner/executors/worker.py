"""Does one cell at a time, wherever that is, and what has to travel there."""

from __future__ import annotations

import pickle
from collections.abc import Callable

from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.release_audit import RecordSpec, ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.record import Record
from leakbench.runner.cell import Cell
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import Suite


def _nobody(row: RecordSpec, record: Record) -> None:
    """Told of records that lie where they belong."""


class Worker:
    """Does cells, one after the other. Features of real images are kept between them, networks of releases are not."""

    def __init__(self, builder: ReleaseBuilder) -> None:
        self.builder, self.embedding = builder, FeatureExtractor(builder.inputs)

    def do(
        self, cell: Cell, progress: Callable[[float], None], written: Callable[[RecordSpec, Record], None] = _nobody
    ) -> None:
        """Do one cell. `progress` is told the share done, `written` each record once its files are written."""
        try:
            self._do(cell, progress, written)
        finally:
            self.builder.unload()  # else every point, seed and shadow model of the run would stay on the device

    def _do(self, cell: Cell, progress: Callable[[float], None], written: Callable[[RecordSpec, Record], None]) -> None:
        if cell.kind == "reader":
            _ = self.embedding.features
        elif cell.kind == "fit":
            self.builder.train(cell.chain, cell.seed, cell.models, progress)
        else:
            assert cell.point is not None
            audit = ReleaseAudit(AuditContext(self.builder, self.embedding, cell.point, cell.seed))
            rows = {(row.attack, row.access.name): row for row in cell.records}
            for done, record in enumerate(audit.run(list(cell.records)), start=1):
                written(rows[record.attack, record.access], record)
                progress(min(0.99, done / len(cell.records)))


def packed(suite: Suite, setting: RunConfig) -> bytes:
    """A suite and its setting for another process: bytes, as its plugins' files must be loaded before they are read."""
    return pickle.dumps((suite, setting))


def unpacked(data: bytes) -> tuple[Suite, RunConfig]:
    """Read what `packed` wrote: our own bytes, from the process that runs the command."""
    suite, setting = pickle.loads(data)
    return suite, setting


def portable(error: Exception) -> Exception:
    """The error, or its words if it does not survive the way to another process."""
    try:
        return pickle.loads(pickle.dumps(error)) and error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")

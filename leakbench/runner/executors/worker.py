"""Does one cell at a time, in whichever process or on whichever node it runs."""

from __future__ import annotations

from collections.abc import Callable

from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.record import Record
from leakbench.runner.cell import Cell
from leakbench.runner.executors.time_limit import limit_time

OnRecord = Callable[[RecordSpec, Record], None]


def _ignore_record(spec: RecordSpec, record: Record) -> None:
    """Do nothing: the record's files lie where they belong."""


class Worker:
    """Does cells, one after the other. Features of real images are kept between them, networks of releases are not."""

    def __init__(self, builder: ReleaseBuilder) -> None:
        self.builder, self.embedding = builder, FeatureExtractor(builder.inputs)

    def do(
        self,
        cell: Cell,
        progress: Callable[[float], None],
        written: OnRecord = _ignore_record,
    ) -> None:
        """Do one cell. `progress` gets the share done, `written` each record once its files are written. Raises
        CellTimeout where it takes longer than the run's limit."""
        try:
            with limit_time(self.builder.inputs.config.cell_limit):
                self._do(cell, progress, written)
        finally:
            self.builder.unload()  # else every point, seed and shadow model of the run would stay on the device

    def _do(self, cell: Cell, progress: Callable[[float], None], written: OnRecord) -> None:
        if cell.kind == "reader":
            _ = self.embedding.features
        elif cell.kind == "fit":
            self.builder.train(cell.chain, cell.seed, cell.models, progress)
        else:
            assert cell.point is not None
            audit = ReleaseAudit(AuditContext(self.builder, self.embedding, cell.point, cell.seed))
            specs = {(spec.name, spec.access.name): spec for spec in cell.records}
            for done, record in enumerate(audit.run(list(cell.records)), start=1):
                written(specs[record.attack, record.access], record)
                progress(min(0.99, done / len(cell.records)))

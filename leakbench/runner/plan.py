"""The plan of a run: the cells that are left to do, and what each depends on.

A cell's number in the run is fixed by the suite, not by the machine.
"""

from __future__ import annotations

import json
import shutil
import sys
from functools import cached_property
from math import prod
from typing import Literal

from leakbench.api import AuxiliaryModel
from leakbench.data.near_duplicates import format_near_duplicates
from leakbench.data.overlap import format_overlap
from leakbench.measurement.audit_context import AuditContext, collect_auxiliary_models
from leakbench.measurement.auxiliary import auxiliary_chain
from leakbench.measurement.compatibility import audit_setting, is_applicable
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.keys import fit_key
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.record import QUALITY
from leakbench.results.run_plan import RunPlan
from leakbench.runner.cell import Cell, batch_shadow_trainings, fit_verb, rename_dependencies
from leakbench.runner.cell_queue import order_cells
from leakbench.runner.extension import Extension
from leakbench.runner.manifest import to_manifest
from leakbench.runner.up_to_date import SUPERSEDED, FinishedRecords, identify
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically
from leakbench.suite.release_spec import ChainLink, ReleaseSpec

Rerun = Literal["missing", "failed", "all"]

_TOGETHER = 16  # shadow models in one batched pass
_TOGETHER_BYTES = 2**32  # of their images


class Plan:
    """The cells of a suite, in an order in which each stands behind what it depends on."""

    def __init__(
        self,
        builder: ReleaseBuilder,
        rerun: Rerun = "missing",
        extension: Extension | None = None,
        finished: FinishedRecords | None = None,
        only: str = "",
    ) -> None:
        """extension: the command's part of the suite, where its folder holds more than that. finished: the records of
        the folder, where they were read before. only: the attack, or "quality", whose records alone are made."""
        self.builder, self.inputs, self.rerun = builder, builder.inputs, rerun
        self.out = self.inputs.config.out
        self.embedding = FeatureExtractor(builder.inputs)
        self.extension = extension or Extension(self.inputs.suite, self.inputs.suite)
        self.finished = finished or FinishedRecords(self.out)
        self._only = only
        self._is_trained: dict[str, bool] = {}

    @cached_property
    def failures(self) -> dict[str, str]:
        """Cells that failed last time, with their errors. Raises UsageError where the file is damaged."""
        path = self.out / "failures.json"
        try:
            return dict(json.loads(path.read_text())) if path.is_file() else {}
        except (ValueError, TypeError):
            raise UsageError(f"{path}: damaged; without --rerun failed, all that has no record is done") from None

    @cached_property
    def audits(self) -> list[ReleaseAudit]:
        """The audits of all releases at all seeds, done or not."""
        suite = self.inputs.suite
        return [
            ReleaseAudit(AuditContext(self.builder, self.embedding, point, seed))
            for point in suite.points
            for seed in suite.file.seeds
        ]

    @cached_property
    def cells(self) -> list[Cell]:
        """The audits with missing records, and the training that they need."""
        audits = [cell for audit in self.audits if (cell := self._plan_audit(audit))]
        if not audits:
            return []
        fits: dict[str, Cell] = {}
        for cell in audits:
            assert cell.point is not None
            for model in (None, *self._list_auxiliary_models(cell.point, cell.records)):
                self._add_fits(self._chain_of(model, cell.point), cell.seed, model, fits)
        joined, new_names = batch_shadow_trainings(
            fits.values(), lambda cell: fit_key(self.inputs, cell.chain, cell.seed), self._shadows_a_cell()
        )
        planned = [Cell("reader", "reader", "embedding of the reference images"), *joined]
        return order_cells([*planned, *(rename_dependencies(cell, new_names) for cell in audits)])

    def _shadows_a_cell(self) -> int:
        """The number of shadow models that a cell trains: one on the CPU, where each core has its own; on a CUDA device
        as many as hold it, with their images, at once."""
        if self.inputs.device.type != "cuda":
            return 1
        size = 4 * prod(self.inputs.data.shape) * len(self.inputs.pool)
        return max(1, min(_TOGETHER, _TOGETHER_BYTES // size))

    def _list_auxiliary_models(self, point: ReleaseSpec, records: tuple[RecordSpec, ...]) -> list[AuxiliaryModel]:
        """The models that the attacks of these records need, each once."""
        attacks, setting = self.inputs.suite.attacks, audit_setting(self.inputs, point.chain)
        asked = [attacks[record.attack] for record in records if record.attack in attacks]
        return collect_auxiliary_models(tuple(attack for attack in asked if is_applicable(attack, setting)))

    def _chain_of(self, model: AuxiliaryModel | None, point: ReleaseSpec) -> tuple[ChainLink, ...]:
        return point.chain if model is None else auxiliary_chain(model, point.chain)

    def _plan_audit(self, audit: ReleaseAudit) -> Cell | None:
        """The cell that makes a release's missing records, or None if there are none."""
        point, seed = audit.context.point, audit.context.seed
        name = f"audit {point.label} seed {seed}"
        if self.rerun == "failed" and name not in self.failures:
            return None
        rerun = self.rerun == "all"
        records = tuple(
            spec
            for spec in audit.rows()
            if self._only in ("", spec.attack)
            if rerun or (self._is_asked(point, spec, seed) and not self.finished.is_up_to_date(audit, spec))
        )
        if not records:
            return None
        fits = [fit_key(self.inputs, point.chain[:length], seed) for length in range(1, len(point.chain) + 1)]
        for model in self._list_auxiliary_models(point, records):
            fits.append(fit_key(self.inputs, self._chain_of(model, point), seed, model))
        depends_on = ("reader", *self._unfinished(fits))
        description = f"{point.label}, seed {seed}"
        return Cell(name, "audit", description, depends_on, point.chain, point, seed, records=records)

    def _is_asked(self, point: ReleaseSpec, spec: RecordSpec, seed: int) -> bool:
        """True of a record that the command asks for, or that was made before: it is made again if it is not up to
        date. A damaged record may be any of them."""
        asked = self.extension.asked
        if asked is self.inputs.suite or self.finished.damaged:
            return True
        return (point.label, spec.name, seed) in self.finished.cells or (
            seed in asked.file.seeds
            and any(one.label == point.label for one in asked.points)
            and (spec.attack == QUALITY or (spec.attack in asked.attacks and asked.asks(spec.attack, point)))
        )

    def _add_fits(
        self, chain: tuple[ChainLink, ...], seed: int, model: AuxiliaryModel | None, fits: dict[str, Cell]
    ) -> None:
        """Add the unfinished trainings of a chain, from its first link on, to `fits`."""
        keys = [fit_key(self.inputs, chain[:length], seed, model) for length in range(1, len(chain) + 1)]
        for number, key in enumerate(keys):
            if self._unfinished([key]):
                purpose = f" for {model.name}" if model else ""
                description = f"{fit_verb(chain[number].defense)} {chain[number].id}, seed {seed}{purpose}"
                depends_on = self._unfinished(keys[max(0, number - 1) : number])
                cell = Cell(key, "fit", description, depends_on, chain[: number + 1], None, seed, (model,))
                fits.setdefault(key, cell)

    def _unfinished(self, keys: list[str]) -> tuple[str, ...]:
        """The trainings that this run has to do. Each key is looked up once, as its files are hashed."""
        for key in keys:
            if key not in self._is_trained:
                self._is_trained[key] = self.rerun != "all" and self.builder.trainings.is_valid(key)
        return tuple(key for key in keys if not self._is_trained[key])

    # The run folder ---------------------------------------------------------------------------------------------------

    def to_manifest(self, command: str) -> RunPlan:
        """The contents of plan.json, where this command is given."""
        return to_manifest(self.builder, self.extension.list_commands(command), self.extension.absent)

    def drop_artefacts(self) -> None:
        """For `--rerun all`: delete what training and sampling made for this plan's releases, those of shadow,
        retrained and canary models among them, and the classifiers of reference images."""
        for cell in self.cells:
            for model in cell.models:
                key = fit_key(self.inputs, cell.chain, cell.seed, model)
                self.builder.trainings.delete(key)
                shutil.rmtree(self.builder.checkpoints(key), ignore_errors=True)
        for audit in self.audits:
            rows = tuple(audit.rows())
            for key in audit.context.list_samples_keys(self._list_auxiliary_models(audit.context.point, rows)):
                audit.context.samples_cache.delete(key)
        self.embedding.delete_classifiers()

    def write(self, command: str) -> None:
        """Write plan.json, near_duplicates.csv and, of a given split, overlap.csv; set aside records that older code or
        an older plugin left, those that are damaged, and those of a run that is replaced, with its plan."""
        self.out.mkdir(parents=True, exist_ok=True)
        inputs = {identify(audit, spec): audit.row_key(spec) for audit in self.audits for spec in audit.rows()}
        inputs |= self.extension.absent.list_kept(self.finished, self.audits)
        remade = {
            (cell.point.label, spec.name, spec.access.name, cell.seed)
            for cell in self.cells
            if cell.point
            for spec in cell.records
        }
        if stale := self.finished.list_stale(inputs, remade):
            print(
                f"leakbench: {len(stale)} of {len(self.finished.by_identity)} records in {self.out} are of other "
                f"settings or code; kept in {SUPERSEDED}/",
                file=sys.stderr,
            )
            if self.rerun == "all":
                self.finished.copy_plan()
            self.finished.set_aside(stale)
        self.finished.set_aside(self.finished.damaged)  # it may be one that no cell makes again
        for remark in self.inputs.remarks:
            print(f"leakbench: {remark}", file=sys.stderr)
        text = json.dumps(self.to_manifest(command).model_dump(mode="json"), indent=1) + "\n"
        plan = self.out / "plan.json"
        if not plan.is_file() or plan.read_bytes() != text.encode():  # reports are as new as the plan that they show
            write_atomically(plan, text.encode())
        left_out = format_near_duplicates(self.inputs.data, self.inputs.split.duplicates)
        write_atomically(self.out / "near_duplicates.csv", left_out.encode())
        if self.inputs.overlap is not None:
            shown = format_overlap(self.inputs.data, self.inputs.overlap)
            write_atomically(self.out / "overlap.csv", shown.encode())

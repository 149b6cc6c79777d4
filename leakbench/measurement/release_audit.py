"""Audits one release: draws its samples once, runs its attacks, measures its quality, writes a record each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from leakbench.api import Access, Attack, Skip
from leakbench.data.split_groups import Unit
from leakbench.measurement.audit_context import AuditContext, collect_auxiliary_models
from leakbench.measurement.compatibility import audit_setting, skip_attack
from leakbench.measurement.environment import describe_environment, merge_environments
from leakbench.measurement.families import MEASUREMENTS, Attacks
from leakbench.measurement.keys import Parts, hash_parts, summarise_fits
from leakbench.measurement.quality import measure_quality
from leakbench.measurement.record_contents import RecordContents, RecordSpec
from leakbench.measurement.record_key import record_parts
from leakbench.metrics.evaluate.metric_set import MetricSet
from leakbench.results.families import FamilyName
from leakbench.results.record import QUALITY, Environment, Record, RunInfo
from leakbench.results.record_files import save_record
from leakbench.runtime import distributed
from leakbench.runtime.device import merge_execution_notes, record_execution
from leakbench.runtime.errors import in_a_line
from leakbench.runtime.files import disk_is_full

__all__ = ["AttackFailed", "Attacks", "RecordSpec", "ReleaseAudit", "collect_auxiliary_models"]


@dataclass(eq=False)
class ReleaseAudit:
    """The audit of one release of a suite at one seed."""

    context: AuditContext
    _execution_notes: Callable[[], dict[str, Any]] = field(default=dict)  # of the run in progress

    def rows(self) -> list[RecordSpec]:
        """The records that this release gets. An attack that does not apply gets them as well: they say so."""
        suite, point = self.context.inputs.suite, self.context.point
        attacks = {name: attack for name, attack in suite.attacks.items() if suite.asks(name, point)}
        return [RecordSpec(QUALITY, Access.SAMPLES)] + [
            RecordSpec(name, access, unit)
            for name, attack in attacks.items()
            for access in MEASUREMENTS[attack.family].levels(attack)
            for unit in self._units(attack)
        ]

    def _units(self, attack: Attack) -> tuple[Unit, ...]:
        """What the attack is asked about; of one that does not apply a single record says so."""
        units = MEASUREMENTS[attack.family].units(self.context.inputs.split)
        return units if len(units) == 1 or self._skips(attack) is None else units[:1]

    def row_key(self, row: RecordSpec) -> str:
        """Key of a record: everything that its numbers depend on."""
        return hash_parts(self.row_parts(row))

    def row_parts(self, row: RecordSpec) -> Parts:
        """The parts of a record's key."""
        context = self.context
        return record_parts(context.inputs, context.release_parts, self._attack(row), row)

    def run(self, wanted: list[RecordSpec]) -> Iterator[Record]:
        """Make and save the wanted records, one after the other. Raises AttackFailed at the end, when all others are
        written."""
        with record_execution() as self._execution_notes:
            yield from self._run(wanted)

    def _attack(self, row: RecordSpec) -> Attack | None:
        """The attack of a record; None for quality."""
        return self.context.inputs.suite.attacks.get(row.attack)

    def _run(self, wanted: list[RecordSpec]) -> Iterator[Record]:
        skips = {row: self._skip(row) for row in wanted}
        for row, skip in skips.items():
            if skip:
                skipped = MetricSet([], {skip.severity, *skip.flags}, info={"skipped": skip.reason})
                yield self._save(row, RecordContents(skipped))
        wanted = [row for row in wanted if skips[row] is None]
        if any(row.access >= Access.SAMPLES for row in wanted):
            self.context.draw_samples()  # before any attack, so that a release that cannot sample blames none of them
        together: dict[FamilyName, Attacks] = {}
        errors: list[str] = []
        for row in wanted:
            attack = self._attack(row)
            if attack is not None and MEASUREMENTS[attack.family].measure_together:
                group = together.setdefault(attack.family, {})
                group.setdefault(row.attack, (attack, []))[1].append(row.access)
                continue
            with _collect_error(row.attack, errors):
                yield self._checked(row, self._measure(attack, row.access), errors)
        for family, attacks in together.items():
            yield from self._run_together(family, attacks, wanted, errors)
        if errors:
            raise AttackFailed("; ".join(errors))

    def _measure(self, attack: Attack | None, access: Access) -> RecordContents:
        """Measure quality (None), or an attack that runs by itself."""
        if attack is None:
            return measure_quality(self.context)
        measure = MEASUREMENTS[attack.family].measure
        assert measure is not None
        return measure(self.context, attack, access)

    def _run_together(
        self, family: FamilyName, attacks: Attacks, wanted: list[RecordSpec], errors: list[str]
    ) -> Iterator[Record]:
        """All together, sharing network calls; if that fails, one by one, so that a broken attack costs no other.

        A joint error that no attack repeats alone fails nothing, as every record is made; it is told on stderr.
        """
        measure = MEASUREMENTS[family].measure_together
        assert measure is not None
        joint: list[str] = []
        with _collect_error("", joint):
            for row, contents in measure(self.context, attacks):
                if row in wanted:
                    yield self._checked(row, contents, errors)
        alone: list[str] = []
        for name, one in attacks.items() if joint else ():
            with _collect_error(name, alone):
                for row, contents in measure(self.context, {name: one}):
                    if row in wanted:
                        yield self._checked(row, contents, errors)
        errors += alone
        if joint and not any(error.endswith(joint[0]) for error in alone):
            where = f"{self.context.point.label}, seed {self.context.seed}"
            print(f"leakbench: {where}: attacks failed together, and were run alone: {joint[0]}", file=sys.stderr)

    def _checked(self, row: RecordSpec, contents: RecordContents, errors: list[str]) -> Record:
        """Save a record; scores that are no numbers fail the cell, and nothing else."""
        if "non-finite" in contents.metrics.flags:
            errors.append(f"attack {row.attack!r} at {row.access.name}: some score was NaN or infinite (flagged)")
        return self._save(row, contents)

    def _skip(self, row: RecordSpec) -> Skip | None:
        """Reason why a row gets no numbers; None where it does."""
        attack = self._attack(row)
        return None if attack is None else self._skips(attack)

    def _skips(self, attack: Attack) -> Skip | None:
        found = skip_attack(attack, audit_setting(self.context.inputs, self.context.point.chain))
        return found if found and found.severity == "not-applicable" else None

    def _save(self, row: RecordSpec, contents: RecordContents) -> Record:
        context, inputs, metrics = self.context, self.context.inputs, contents.metrics
        attack = self._attack(row)
        needing = [attack] if attack and metrics.metrics else []  # one that was not applicable needed nothing
        notes = merge_execution_notes(context.execution_notes(needing), self._execution_notes())
        shrunk = ["smaller-batches"] if "smaller_batches" in notes else []
        parts = self.row_parts(row)
        record = Record(
            suite=inputs.suite.file.name,
            dataset=inputs.data.name,
            model=inputs.model_of(context.point.chain),
            defense=context.point.id,
            point=context.point.label,
            defense_params=context.point.parameters,
            attack=row.name,
            adaptive=attack is not None and attack.adaptive,
            family="quality" if attack is None else attack.family,
            attack_params={} if attack is None else attack.model_dump(mode="json"),
            features=contents.features,
            access=row.access.name,  # type: ignore[arg-type]
            seed=context.seed,
            metrics=metrics.metrics,
            queries=contents.queries,
            realised_fpr=metrics.realised_fpr,
            flags=sorted({*metrics.flags, *context.release.flags, *shrunk}),
            guarantee=context.release.guarantee.to_json(),
            info=metrics.info | notes,
            inputs=hash_parts(parts),
            run=RunInfo(
                environment=self._environments(),
                timings=contents.timings,
                calls=contents.calls | context.release.spent(),
                key=parts,
                trainings=self._trainings,
            ),
        )
        return distributed.broadcast(lambda: save_record(inputs.config.out, record, contents.arrays))

    @cached_property
    def _trainings(self) -> list[Parts]:
        """What the trainings below the release rested on."""
        return summarise_fits(self.context.inputs, self.context.point.chain, self.context.seed)

    def _environments(self) -> Environment:
        context = self.context
        trained = context.builder.training_environments(context.point.chain, context.seed)
        return Environment(trainer=merge_environments(trained), auditor=describe_environment(context.inputs.device))


class AttackFailed(Exception):
    """Some attacks of a release raised; the records of all others are written."""


@contextmanager
def _collect_error(name: str, errors: list[str]) -> Iterator[None]:
    """Note an attack's error instead of raising it. A full disk is no attack's fault and goes through; so does whatever
    happens in one process of a group: the others would go on with another question than this one."""
    try:
        yield
    except Exception as error:
        if disk_is_full(error) or os.environ.get("LEAKBENCH_DEBUG") or distributed.world_size() > 1:
            raise
        errors.append((f"attack {name!r}: " if name else "") + in_a_line(error))

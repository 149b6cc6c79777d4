"""Audits one release: draws its samples once, runs its attacks, measures its quality, writes a record each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from leakbench.api import (
    Access,
    Attack,
    AttributeAttack,
    AuditingAttack,
    MembershipAttack,
    ReplicationAttack,
    Skip,
    UnlearningAttack,
)
from leakbench.measurement.attribute import measure_attribute
from leakbench.measurement.audit_context import AuditContext, RecordContents, RecordSpec, needs_of
from leakbench.measurement.auditing import measure_auditing
from leakbench.measurement.compatibility import audit_setting, skip_attack
from leakbench.measurement.keys import Parts, hash_parts
from leakbench.measurement.membership import Attacks, measure_membership
from leakbench.measurement.membership_evidence import rows_written
from leakbench.measurement.quality import measure_quality
from leakbench.measurement.record_key import record_parts
from leakbench.measurement.replication import measure_replication
from leakbench.measurement.unlearning import measure_unlearning
from leakbench.metrics.evaluate.findings import MetricSet
from leakbench.results.record import QUALITY, Environment, Record, RunInfo
from leakbench.results.record_files import save_record
from leakbench.runtime import distributed
from leakbench.runtime.device import merge_execution_notes, record_execution
from leakbench.runtime.environment import describe_environment, merge_environments
from leakbench.runtime.files import disk_is_full

__all__ = ["AttackFailed", "Attacks", "RecordSpec", "ReleaseAudit", "needs_of"]


class ReleaseAudit(AuditContext):
    """The audit of one release of a suite: a point of a curve, at a seed."""

    def rows(self) -> list[RecordSpec]:
        """The records that this release gets. An attack that does not apply gets them as well: they say so."""
        rows = [RecordSpec(QUALITY, Access.SAMPLES)]
        for name, attack in self.inputs.suite.attacks.items():
            if not self.inputs.suite.asks(name, self.point):
                continue
            if isinstance(attack, ReplicationAttack):  # of what the service gives out, at its own level alone
                rows.append(RecordSpec(name, attack.access))
            else:
                rows += [RecordSpec(name, access) for access in rows_written(attack, False)]
        return rows

    def row_key(self, row: RecordSpec) -> str:
        """Key of a record: everything that its numbers depend on."""
        return hash_parts(self.row_parts(row))

    def row_parts(self, row: RecordSpec) -> Parts:
        """The parts of a record's key."""
        return record_parts(self.inputs, self.parts, self.inputs.suite.attacks.get(row.attack), row.access)

    def run(self, wanted: list[RecordSpec]) -> Iterator[Record]:
        """Make and save the wanted records, one after the other."""
        with record_execution() as self.now:
            yield from self._run(wanted)

    def _run(self, wanted: list[RecordSpec]) -> Iterator[Record]:
        for row in wanted:
            if skip := self._skip(row):
                skipped = MetricSet([], {skip.severity, *skip.flags}, info={"skipped": skip.reason})
                yield self._save(row, RecordContents(self.inputs.suite.attacks[row.attack].family, skipped))
        wanted = [row for row in wanted if self._skip(row) is None]
        if any(row.access >= Access.SAMPLES for row in wanted):
            _ = self.samples  # before any attack, so that a release that cannot sample is not blamed on them
        membership: Attacks = {}
        errors: list[str] = []
        for row in wanted:
            attack = self.inputs.suite.attacks.get(row.attack)
            if isinstance(attack, MembershipAttack):
                membership.setdefault(row.attack, (attack, []))[1].append(row.access)
                continue
            with _noted(row.attack, errors):
                found = measure_quality(self) if attack is None else _measure(self, attack, row.access)
                yield self._checked(row, found, errors)
        yield from self._membership(membership, errors)
        if errors:
            raise AttackFailed("; ".join(errors))

    def _membership(self, attacks: Attacks, errors: list[str]) -> Iterator[Record]:
        """All together, sharing network calls; if that fails, one by one, so that a broken attack costs no other.

        A joint error that no attack repeats alone fails nothing, as every record is made; it is told on stderr.
        """
        joint: list[str] = []
        with _noted("", joint):
            for row, found in measure_membership(self, attacks) if attacks else ():
                yield self._checked(row, found, errors)
        alone: list[str] = []
        for name, one in attacks.items() if joint else ():
            with _noted(name, alone):
                for row, found in measure_membership(self, {name: one}):
                    yield self._checked(row, found, errors)
        errors += alone
        if joint and not any(error.endswith(joint[0]) for error in alone):
            where = f"{self.point.label}, seed {self.seed}"
            print(f"leakbench: {where}: attacks failed together, and were run alone: {joint[0]}", file=sys.stderr)

    def _checked(self, row: RecordSpec, found: RecordContents, errors: list[str]) -> Record:
        """Saved; scores that are no numbers fail the cell, and nothing else."""
        if "non-finite" in found.findings.flags:
            errors.append(f"attack {row.attack!r} at {row.access.name}: some score was NaN or infinite (flagged)")
        return self._save(row, found)

    def _skip(self, row: RecordSpec) -> Skip | None:
        """Reason why a row gets no numbers; None where it does."""
        attack = self.inputs.suite.attacks.get(row.attack)
        found = attack and skip_attack(attack, audit_setting(self.inputs, self.point.chain))
        return found if found and found.severity == "not-applicable" else None

    def _save(self, row: RecordSpec, measured: RecordContents) -> Record:
        suite, found = self.inputs.suite, measured.findings
        attack = suite.attacks.get(row.attack)
        asked = [attack] if attack and found.metrics else []  # one that was not applicable needed nothing
        manner = merge_execution_notes(self.manner(asked), self.now())
        shrunk = ["smaller-batches"] if "smaller_batches" in manner else []
        parts = self.row_parts(row)
        record = Record(
            suite=suite.file.name,
            dataset=self.inputs.data.name,
            model=self.inputs.model_of(self.point.chain),
            defense=self.point.id,
            point=self.point.label,
            defense_params=self.point.parameters,
            attack=row.attack,
            adaptive=attack is not None and attack.adaptive,
            family=measured.family,
            attack_params={} if attack is None else attack.model_dump(mode="json"),
            features=measured.features,
            access=row.access.name,  # type: ignore[arg-type]
            seed=self.seed,
            metrics=found.metrics,
            queries=measured.queries,
            realised_fpr=found.realised_fpr,
            flags=sorted({*found.flags, *self.release.flags, *shrunk}),
            guarantee=self.release.guarantee,
            info=found.info | manner,
            inputs=hash_parts(parts),
            run=RunInfo(environment=self._environment(), timings=measured.timings, calls=measured.calls, key=parts),
        )
        return distributed.broadcast(lambda: save_record(self.inputs.config.out, record, measured.arrays))

    def _environment(self) -> Environment:
        trained = self.builder.training_environments(self.point.chain, self.seed)
        return Environment(trainer=merge_environments(trained), auditor=describe_environment(self.inputs.device))


def _measure(subject: AuditContext, attack: Attack, access: Access) -> RecordContents:
    """What an attack that runs by itself finds at one of its levels."""
    if isinstance(attack, ReplicationAttack):
        return measure_replication(subject, attack)
    if isinstance(attack, UnlearningAttack):
        return measure_unlearning(subject, attack, access)
    if isinstance(attack, AttributeAttack):
        return measure_attribute(subject, attack, access)
    if isinstance(attack, AuditingAttack):
        return measure_auditing(subject, attack, access)
    raise TypeError(f"{type(attack).__name__} is of no family that can be measured")


class AttackFailed(Exception):
    """Some attacks of a release raised; the records of all others are written."""


@contextmanager
def _noted(name: str, errors: list[str]) -> Iterator[None]:
    """Takes note of an attack's error instead of raising it. A full disk is nobody's fault and goes through; so does
    whatever happens in one process of a group: the others would go on with another question than this one."""
    try:
        yield
    except Exception as error:
        if disk_is_full(error) or os.environ.get("LEAKBENCH_DEBUG") or distributed.world_size() > 1:
            raise
        errors.append((f"attack {name!r}: " if name else "") + f"{type(error).__name__}: {error}")

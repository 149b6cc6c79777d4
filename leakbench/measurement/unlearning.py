"""Measures an attack on unlearning on one release, beside the release from before and the retrained one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from leakbench.api import RETRAINED, Access, QueriedModel, Query, UnlearningAttack, UnlearningContext
from leakbench.api.answer_cache import QueriedRelease
from leakbench.api.views import QueryCount
from leakbench.data.image_batch import Images
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.query_engine import AttackTarget
from leakbench.measurement.record_contents import RecordContents
from leakbench.metrics.evaluate.metric_set import MetricSet
from leakbench.metrics.evaluate.unlearning import evaluate_unlearning, flatten_evidence
from leakbench.results.evidence import UnlearningEvidence, UnlearningGroups


def measure_unlearning(context: AuditContext, attack: UnlearningAttack, access: Access) -> RecordContents:
    """Measure one attack at one of its levels."""
    began = time.perf_counter()
    inquiry = Inquiry(context, attack, access is Access.WEIGHTS)
    ground = inquiry.ground
    if min(len(group.ids) for group in (ground.forget, ground.unseen, ground.retained)) < 2:
        return RecordContents(MetricSet([], {"forget-set-too-small"}))
    evidence = _with_groups(attack.run(ground), inquiry)
    metrics, timings = evaluate_unlearning(evidence), {"attack": time.perf_counter() - began}
    return RecordContents(metrics, flatten_evidence(evidence), timings, queries=inquiry.queries)


def _with_groups(evidence: UnlearningEvidence, inquiry: Inquiry) -> UnlearningEvidence:
    """Evidence that says whose the images are, where the data set does."""
    group = inquiry.context.inputs.split.group
    if group is None:
        return evidence
    groups = UnlearningGroups(*(group[rows] for rows in inquiry.rows))
    return replace(evidence, scores={name: replace(one, groups=groups) for name, one in evidence.scores.items()})


@dataclass
class Inquiry:
    """An attack on a release: what it is given, and the calls that it makes."""

    context: AuditContext
    attack: UnlearningAttack
    raw: bool
    _counts: list[QueryCount] = field(default_factory=list)  # of the release under attack and of the one before
    _asked: list[Tensor] = field(default_factory=list)  # numbers of the images

    @property
    def queries(self) -> float:
        """Calls an attacked image. What the retrained model was asked belongs to the audit and not to the attacker."""
        calls = sum(count.total + count.once for count in self._counts)
        return calls / len(torch.cat(self._asked).unique()) if self._asked else 0.0

    @property
    def ground(self) -> UnlearningContext:
        """The three releases, the three groups of images, and the rest."""
        inputs, target = self.context.inputs, self.context.target((self.attack,))
        before = self._before(target)
        forget, unseen, retained = map(self.context.images, self.rows)
        null = AttackTarget(target.others[RETRAINED.name].source, target.streams, target.others)
        return UnlearningContext(
            model=self._model(target),
            before=None if before is None else self._model(before),
            retrained=self._model(null, counted=False),
            forget=forget,
            unseen=unseen,
            retained=retained,
            label=self.context.forgotten_label,
            reference_classifier=self.context.extractor.label_probabilities,
            streams=target.streams,
            device=inputs.device,
            first=inputs.suite.file.quality.samples,
        )

    def _before(self, target: AttackTarget) -> AttackTarget | None:
        """The base of the chain's last link that forgets."""
        chain, inputs = self.context.point.chain, self.context.inputs
        last = max((number for number, link in enumerate(chain) if link.defense.forgets), default=0)
        if not last:
            return None
        release = self.context.builder.build_release(chain[:last], self.context.seed)
        source = QueriedRelease(release, lambda: release.sample(inputs.suite.file.quality.samples))
        return AttackTarget(source, target.streams, target.others)

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of the reported images: to be forgotten, never seen (of that class), retained."""
        inputs, table = self.context.inputs, self.context.inputs.suite.file.forget
        assert inputs.forgotten is not None and table is not None
        member, nonmember = inputs.split.parts["member"], inputs.split.parts["nonmember"]
        gone = np.isin(member, inputs.forgotten)
        if table.label is not None:
            assert inputs.data.labels is not None
            nonmember = nonmember[inputs.data.labels[nonmember] == table.label]
        return member[gone], nonmember, member[~gone]

    def _model(self, target: AttackTarget, counted: bool = True) -> QueriedModel:
        count = QueryCount()  # of all questions to this release: samples that several ask for are drawn once
        if counted:
            self._counts.append(count)

        def ask(question: Query, images: Images) -> Tensor:
            if counted:
                self._asked.append(images.ids)
            return target.ask(question, self.attack, self.raw, images, count)

        return QueriedModel(ask, target.release if self.attack.access is Access.WEIGHTS else None)

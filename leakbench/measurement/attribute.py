"""Measures an attribute attack on one release: on its samples, its members, or pairs of its outputs."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access, AttributeAttack, AttributeEvidence, AttributeTrainingSet, Query, Release
from leakbench.data.image_batch import Images
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.measurement.record_contents import RecordContents
from leakbench.metrics.evaluate.attribute import evaluate_attribute


@dataclasses.dataclass(frozen=True)
class Truth:
    """Images without the network's condition, and of each the attribute, 0 or 1 (N,), on the CPU."""

    images: Images
    attribute: Tensor
    groups: np.ndarray | None = None  # whose each image is, where that is known

    def __len__(self) -> int:
        return len(self.attribute)

    def take(self, rows: slice) -> Truth:
        """Select rows."""
        index = torch.arange(len(self))[rows]
        groups = None if self.groups is None else self.groups[index.numpy()]
        return Truth(self.images.take(index.to(self.images.ids.device)), self.attribute[index], groups)


@dataclasses.dataclass(frozen=True)
class Groups:
    """Images that the attacker learns from, reported images, and those of the null (None: 1/2 by construction)."""

    known: Truth
    reported: Truth
    null: Truth | None


def measure_attribute(context: AuditContext, attack: AttributeAttack, access: Access) -> RecordContents:
    """Measure one attack at one of its levels."""
    began = time.perf_counter()
    raw = access is Access.WEIGHTS
    target, groups = context.target((attack,)), _groups(context, attack, raw)
    learns = type(attack).fit is not AttributeAttack.fit
    fitted = _fit(attack, target, groups.known, raw) if learns else attack
    asked = {"it": AttackRequest(cast(Any, fitted), raw)}
    scores, queries = target.score(asked, groups.reported.images)
    null = np.empty(0) if groups.null is None else target.score(asked, groups.null.images)[0]["it"]
    evidence = _evidence(scores["it"], groups.reported, null, groups.null)
    metrics = evaluate_attribute(evidence, balanced=attack.of == "samples")
    metrics.info |= {"of": attack.of, "known_images": len(groups.known) if learns else 0}
    own = _pair_calls(context.release) if attack.of == "pairs" and learns else 0.0
    timings = {"attack": time.perf_counter() - began}
    return RecordContents(metrics, evidence.arrays, timings, queries=queries["it"] + own)


def _fit(attack: AttributeAttack, target: AttackTarget, known: Truth, raw: bool) -> AttributeAttack:
    def ask(question: Query) -> Tensor:
        return target.ask(question, attack, raw, known.images)

    truth = known.attribute.to(known.images.images.device)
    return attack.fit(AttributeTrainingSet(known.images.images, None, ask, truth, target.streams))


def _evidence(scores: np.ndarray, reported: Truth, null: np.ndarray, of_null: Truth | None) -> AttributeEvidence:
    one = reported.attribute.numpy() == 1
    null_one = np.empty(0, dtype=bool) if of_null is None else of_null.attribute.numpy() == 1
    groups = _apart(reported.groups, one), _apart(None if of_null is None else of_null.groups, null_one)
    return AttributeEvidence(scores[one], scores[~one], null[null_one], null[~null_one], *groups[0], *groups[1])


def _apart(groups: np.ndarray | None, one: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    return (None, None) if groups is None else (groups[one], groups[~one])


def _groups(context: AuditContext, attack: AttributeAttack, raw: bool) -> Groups:
    parts = context.inputs.split.parts
    if attack.of == "pairs":
        pairs = draw_pairs(context, raw)
        half = len(pairs) // 2
        return Groups(pairs.take(slice(half)), pairs.take(slice(half, None)), None)
    if attack.of == "images":
        groups = (parts["reference"], parts["member"], parts["nonmember"])
        return Groups(*(_real(context, rows) for rows in groups))
    known, null = (_real(context, rows) for rows in (parts["reference"], context.inputs.heldout_rows))
    return Groups(known, _samples(context), null)


def _real(context: AuditContext, rows: np.ndarray) -> Truth:
    """Real images of these rows."""
    attribute, group = context.inputs.split.attribute, context.inputs.split.group
    assert attribute is not None  # the network is conditioned on it
    images = dataclasses.replace(context.images(rows), labels=None)
    return Truth(images, torch.from_numpy(attribute[rows]), None if group is None else group[rows])


def _samples(context: AuditContext) -> Truth:
    """The samples, and the attribute that each was requested with."""
    assert context.requested_labels is not None
    device = context.inputs.device
    return Truth(
        Images(context.samples.to(device), torch.arange(len(context.requested_labels), device=device), None),
        context.requested_labels,
    )


def draw_pairs(context: AuditContext, raw: bool) -> Truth:
    """As many pairs as the suite draws samples: two outputs of one noise, asked for either value, stacked in an order
    that a fair coin chose; true is whether the first was asked for 1. Of sample numbers that nothing else draws."""
    release = context.release.undefended() if raw else context.release
    count, device = context.inputs.suite.file.quality.samples, context.inputs.device
    zero, one = (release.sample(count, torch.full((count,), value), first=2 * count) for value in (0, 1))
    numbers = torch.arange(2 * count, 3 * count)
    coin = context.inputs.streams(context.seed).of("attacking", "order of pairs").integers(numbers, 2)
    ordered = torch.where(coin.view(-1, 1, 1, 1) == 1, torch.cat([one, zero], dim=1), torch.cat([zero, one], dim=1))
    return Truth(Images(ordered.to(device), numbers.to(device), None), coin)


def _pair_calls(release: Release) -> float:
    """Calls that a pair of the attacker's own costs it; it draws as many as it is shown."""
    return 2.0 * len(release.schedule.timesteps())

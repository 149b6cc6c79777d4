"""An attribute attack against one release: of its samples, its members, or pairs of its outputs."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access, AttributeAttack, AttributeEvidence, AttributeTrainingSet, Query, Release
from leakbench.data.image_batch import Images
from leakbench.measurement.audit_context import AuditContext, RecordContents
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.metrics.evaluate.attribute import attribute


@dataclasses.dataclass(frozen=True)
class Truth:
    """Images without the network's condition, and the truth about each, 0 or 1 (N,), on the CPU."""

    images: Images
    attribute: Tensor

    def __len__(self) -> int:
        return len(self.attribute)

    def take(self, rows: slice) -> Truth:
        """Some of them."""
        index = torch.arange(len(self))[rows]
        return Truth(self.images.take(index.to(self.images.ids.device)), self.attribute[index])


@dataclasses.dataclass(frozen=True)
class Groups:
    """What an attacker knows, what is reported, and the null (None: 1/2 by construction)."""

    known: Truth
    reported: Truth
    null: Truth | None


def measure_attribute(subject: AuditContext, attack: AttributeAttack, access: Access) -> RecordContents:
    """One attack at one of its levels."""
    began = time.perf_counter()
    raw = access is Access.WEIGHTS
    target, groups = subject.target((attack,)), _groups(subject, attack, raw)
    learns = type(attack).fit is not AttributeAttack.fit
    fitted = _fit(attack, target, groups.known, raw) if learns else attack
    asked = {"it": AttackRequest(cast(Any, fitted), raw)}
    scores, queries = target.score(asked, groups.reported.images)
    null = np.empty(0) if groups.null is None else target.score(asked, groups.null.images)[0]["it"]
    evidence = _evidence(scores["it"], groups.reported, null, groups.null)
    found = attribute(evidence, balanced=attack.of == "samples")
    found.info |= {"of": attack.of, "known_images": len(groups.known) if learns else 0}
    own = _pair_calls(subject.release) if attack.of == "pairs" and learns else 0.0
    timings = {"attack": time.perf_counter() - began}
    return RecordContents("attribute", found, dataclasses.asdict(evidence), timings, queries=queries["it"] + own)


def _fit(attack: AttributeAttack, target: AttackTarget, known: Truth, raw: bool) -> AttributeAttack:
    def ask(question: Query) -> Tensor:
        return target.ask(question, attack, raw, known.images)

    truth = known.attribute.to(known.images.images.device)
    return attack.fit(AttributeTrainingSet(known.images.images, None, ask, truth, target.streams))


def _evidence(scores: np.ndarray, reported: Truth, null: np.ndarray, of_null: Truth | None) -> AttributeEvidence:
    one = reported.attribute.numpy() == 1
    null_one = np.empty(0, dtype=bool) if of_null is None else of_null.attribute.numpy() == 1
    return AttributeEvidence(scores[one], scores[~one], null[null_one], null[~null_one])


def _groups(subject: AuditContext, attack: AttributeAttack, raw: bool) -> Groups:
    parts = subject.inputs.split.parts
    if attack.of == "pairs":
        pairs = pairs_of(subject, raw)
        half = len(pairs) // 2
        return Groups(pairs.take(slice(half)), pairs.take(slice(half, None)), None)
    if attack.of == "images":
        groups = (parts["reference"], parts["member"], parts["nonmember"])
        return Groups(*(_real(subject, rows) for rows in groups))
    known, null = (_real(subject, rows) for rows in (parts["reference"], subject.inputs.heldout_rows))
    return Groups(known, _samples(subject), null)


def _real(subject: AuditContext, rows: np.ndarray) -> Truth:
    """Real images of these rows."""
    attribute = subject.inputs.split.attribute
    assert attribute is not None  # the network is conditioned on it
    return Truth(dataclasses.replace(subject.images(rows), labels=None), torch.from_numpy(attribute[rows]))


def _samples(subject: AuditContext) -> Truth:
    """The samples, and what each was asked for."""
    assert subject.asked is not None
    device = subject.inputs.device
    return Truth(
        Images(subject.samples.to(device), torch.arange(len(subject.asked), device=device), None), subject.asked
    )


def pairs_of(subject: AuditContext, raw: bool) -> Truth:
    """As many pairs as the suite draws samples: two outputs of one noise, asked for either value, stacked in an order
    that a fair coin chose; true is whether the first was asked for 1. Of sample numbers that nothing else draws."""
    release = subject.release.undefended() if raw else subject.release
    count, device = subject.inputs.suite.file.quality.samples, subject.inputs.device
    zero, one = (release.sample(count, torch.full((count,), value), first=2 * count) for value in (0, 1))
    numbers = torch.arange(2 * count, 3 * count)
    coin = subject.inputs.streams(subject.seed).of("attacking", "order of pairs").integers(numbers, 2)
    ordered = torch.where(coin.view(-1, 1, 1, 1) == 1, torch.cat([one, zero], dim=1), torch.cat([zero, one], dim=1))
    return Truth(Images(ordered.to(device), numbers.to(device), None), coin)


def _pair_calls(release: Release) -> float:
    """What a pair of the attacker's own costs it; it draws as many as it is shown."""
    return 2.0 * len(release.schedule.timesteps())

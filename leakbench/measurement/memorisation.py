"""Measures attacks that flag memorised prompts on one release.

Choices of ours: a prompt is a distinct caption (of a model of classes, a class), asked about once, by the number of the
first image that has it. Under test are the captions of reported members. A null prompt is one that no training image
has: those of nonmembers measure the rate of false flags, those of calibration and reference images set the threshold.
Attacks are given blank images in place of the real ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from leakbench.api import Access, MemorisationAttack, MemorisationEvidence
from leakbench.data.image_batch import Images
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.query_engine import AttackRequest
from leakbench.measurement.record_contents import RecordContents, RecordSpec
from leakbench.metrics.evaluate.memorisation import evaluate_memorisation


@dataclass(frozen=True)
class PromptSet:
    """Rows of the data set (N,), the first of each distinct prompt, and the prompts' numbers (N,)."""

    rows: np.ndarray
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class PromptSets:
    """Prompts under test, null prompts, and the null prompts that the threshold is chosen by; no prompt is in two."""

    tested: PromptSet
    null: PromptSet
    threshold: PromptSet


def measure_memorisation(
    context: AuditContext, attacks: dict[str, tuple[Any, list[Access]]]
) -> Iterator[tuple[RecordSpec, RecordContents]]:
    """Measure each attack, once for all levels at which its answers are the same."""
    prompts = find_prompts(context)
    for name, (attack, levels) in attacks.items():
        known: dict[bool, RecordContents] = {}
        for access in levels:
            raw = access is Access.WEIGHTS or context.release.eps_is_raw
            if raw not in known:
                known[raw] = _measure(context, attack, raw, prompts)
            yield RecordSpec(name, access), known[raw]


def _measure(context: AuditContext, attack: MemorisationAttack, raw: bool, prompts: PromptSets) -> RecordContents:
    began = time.perf_counter()
    asked = (prompts.tested, prompts.null, prompts.threshold)
    rows, numbers = (np.concatenate([getattr(one, what) for one in asked]) for what in ("rows", "numbers"))
    device, shape = context.inputs.device, context.inputs.data.shape
    blank = Images(
        torch.zeros(1, *shape, device=device).expand(len(rows), *shape),
        torch.from_numpy(rows).to(device),
        torch.from_numpy(numbers).to(device),
    )
    scores, queries = context.target((attack,)).score({"it": AttackRequest(cast(Any, attack), raw)}, blank)
    tested, null, threshold = np.split(scores["it"], np.cumsum([len(one) for one in asked])[:-1])
    evidence = MemorisationEvidence(tested, prompts.tested.numbers, null, prompts.null.numbers, threshold)
    timings = {"attack": time.perf_counter() - began}
    return RecordContents(evaluate_memorisation(evidence), evidence.arrays, timings, queries=queries["it"])


def find_prompts(context: AuditContext) -> PromptSets:
    """The prompts of the data set's parts, as the release is told them."""
    inputs = context.inputs
    labels = inputs.conditions(context.condition)
    assert labels is not None  # an attack of this family needs a condition
    texts = context.release.captions
    words = [texts[label] if texts else label for label in labels.tolist()]
    parts = inputs.split.parts
    known = {words[row] for row in inputs.split.train}
    null = _first_rows(parts["nonmember"], words, known)
    known |= {words[row] for row in null}
    threshold = _first_rows([*parts["calibration_out"], *parts["reference"]], words, known)
    tested = _first_rows(parts["member"], words, set())
    return PromptSets(*(PromptSet(rows, labels[rows].astype(np.int64)) for rows in (tested, null, threshold)))


def _first_rows(rows: Iterable[int], words: list[Any], known: set[Any]) -> np.ndarray:
    """The first row of each prompt that is not known, in order."""
    first: dict[Any, int] = {}
    for row in rows:
        if words[row] not in known:
            first.setdefault(words[row], int(row))
    return np.array(list(first.values()), dtype=np.int64)

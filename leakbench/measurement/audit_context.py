"""What is audited: one release of a suite at one seed, its samples, and what was found about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access, Attack, AuxiliaryModel, Release
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.measurement.auxiliary import auxiliary_chain
from leakbench.measurement.embedding import FeatureExtractor
from leakbench.measurement.keys import Parts, hash_parts, release_parts
from leakbench.measurement.query_engine import AttackTarget, AuxiliaryRelease
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.measurement.samples import cached_samples, samples_parts
from leakbench.metrics.evaluate.findings import MetricSet
from leakbench.runtime.device import merge_execution_notes
from leakbench.runtime.errors import UsageError
from leakbench.suite.load import ReleaseSpec

Family = Literal["membership", "replication", "attribute", "unlearning", "auditing", "quality"]


@dataclass(frozen=True)
class RecordSpec:
    """One record to be written: an attack at an access level, or quality."""

    attack: str
    access: Access


@dataclass(frozen=True)
class RecordContents:
    """What goes into one record: findings, raw arrays, seconds, the embedding's name, queries an image; and what the
    run shared, which depends on the attacks that ran together and is no part of the record's identity."""

    family: Family
    findings: MetricSet
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    features: str = ""
    queries: float = 0.0
    calls: dict[str, float] = field(default_factory=dict)


class AuditContext:
    """A point of a curve, at a seed."""

    def __init__(self, builder: ReleaseBuilder, embedding: FeatureExtractor, point: ReleaseSpec, seed: int) -> None:
        self.builder, self.inputs, self.embedding = builder, builder.inputs, embedding
        self.point, self.seed = point, seed
        self.parts = release_parts(self.inputs, point.chain, seed)  # of the release's key
        self.samples_store = self.inputs.config.store("samples")

    @cached_property
    def release(self) -> Release:
        """The release under audit."""
        return self.builder.build_release(self.point.chain, self.seed)

    @property
    def condition(self) -> str:
        """What its network is conditioned on."""
        return self.inputs.condition(self.point.chain)

    def needed(self, attacks: Iterable[Attack]) -> dict[str, AuxiliaryRelease]:
        """The other releases that attacks need, by name; their samples are drawn when they are first asked for."""
        inputs, count, others = self.inputs, self.inputs.suite.file.quality.samples, {}
        for need in needs_of(tuple(attacks)):
            chain = auxiliary_chain(need, self.point.chain)
            release = self.builder.build_release(chain, self.seed, need)
            parts = samples_parts(release_parts(inputs, chain, self.seed, need), count)
            source = QueriedRelease(release, partial(self._samples_of, release, count, parts))
            others[need.name] = AuxiliaryRelease(source, inputs.training_rows(need, self.seed))
        return others

    def _samples_of(self, release: Release, count: int, parts: Parts) -> Tensor:
        """Samples of another release, drawn once for all attacks and points."""
        return cached_samples(self.samples_store, parts, lambda: release, count)[0]["samples"]

    def target(self, attacks: Iterable[Attack]) -> AttackTarget:
        """The release as these attacks meet it. Only of shadow models do they learn what these were trained on: what a
        retrained one was trained on is nearly the target's own."""
        asked = tuple(attacks)
        shadows = {need.name for need in needs_of(asked) if need.kind == "shadow"}
        untold = np.empty(0, dtype=np.int64)
        others = {
            name: other if name in shadows else AuxiliaryRelease(other.source, untold)
            for name, other in self.needed(asked).items()
        }
        return AttackTarget(QueriedRelease(self.release, lambda: self.samples), self.inputs.streams(self.seed), others)

    def images(self, rows: np.ndarray) -> Images:
        """Images of these rows on the device, with what the network is conditioned on."""
        inputs, labels = self.inputs, self.inputs.conditions(self.condition)
        return Images(
            inputs.images(rows).to(inputs.device),
            torch.from_numpy(rows).to(inputs.device),
            None if labels is None else torch.from_numpy(labels[rows]).to(inputs.device),
        )

    @property
    def forgotten_label(self) -> int | None:
        """The label that the suite forgets, where the network is conditioned on labels."""
        table = self.inputs.suite.file.forget
        return table.label if table and self.condition == "label" else None

    @property
    def samples_key(self) -> str:
        """Key of the drawn samples."""
        return hash_parts(self._samples_parts)

    @property
    def _samples_parts(self) -> Parts:
        return samples_parts(self.parts, self.inputs.suite.file.quality.samples, self.forgotten_label)

    @cached_property
    def asked(self) -> Tensor | None:
        """What each sample was conditioned on (N,), on the CPU, or None."""
        labels = self.release.labels(torch.arange(self.inputs.suite.file.quality.samples, device=self.inputs.device))
        return None if labels is None else labels.cpu()

    @property
    def samples(self) -> Tensor:
        """Samples (N, C, H, W) on the CPU."""
        return self._drawn[0]["samples"]

    @property
    def conditioned(self) -> Tensor | None:
        """Half as many further samples, all conditioned on the label that is to be forgotten."""
        return self._drawn[0].get("conditioned")

    @property
    def facts(self) -> dict[str, Any]:
        """What sampling showed, "sample_seconds" among it."""
        return self._drawn[1]

    def manner(self, attacks: Iterable[Attack]) -> dict[str, Any]:
        """How the release, and those that these attacks needed, were trained and its samples drawn, where that is
        "smaller_batches" or "compiled"."""
        found = [self.facts] if "_drawn" in vars(self) else []
        for need in (None, *needs_of(tuple(attacks))):
            chain = auxiliary_chain(need, self.point.chain) if need else self.point.chain
            found += self.builder.training_facts(chain, self.seed, need)
        return merge_execution_notes(*found)

    @cached_property
    def _drawn(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Drawn once, then cached."""
        count = self.inputs.suite.file.quality.samples
        return cached_samples(
            self.samples_store, self._samples_parts, lambda: self.release, count, self.forgotten_label
        )


def needs_of(attacks: tuple[Attack, ...]) -> list[AuxiliaryModel]:
    """Every release that some attack needs, each once, by name. Raises UsageError if two mean different ones by it."""
    needs: dict[str, AuxiliaryModel] = {}
    for attack in attacks:
        for need in attack.auxiliary_models():
            if needs.setdefault(need.name, need) != need:
                raise UsageError(
                    f"two attacks need different releases under the name {need.name!r}; give one another name"
                )
    return list(needs.values())

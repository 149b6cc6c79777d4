"""Context of an audit: the release, its samples, other releases that attacks need, and images to ask about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Attack, AuxiliaryModel, Release
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.measurement.auxiliary import auxiliary_chain
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import Parts, hash_parts, release_parts
from leakbench.measurement.query_engine import AttackTarget, AuxiliaryRelease
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.measurement.samples import load_or_draw_samples, samples_parts
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.device import merge_execution_notes, request_compile
from leakbench.runtime.errors import UsageError
from leakbench.suite.release_spec import ReleaseSpec


@dataclass(eq=False)
class AuditContext:
    """One release of a suite at one seed. Everything is built, drawn or loaded when it is first asked for."""

    builder: ReleaseBuilder
    extractor: FeatureExtractor
    point: ReleaseSpec
    seed: int

    @property
    def inputs(self) -> RunInputs:
        """The run's inputs."""
        return self.builder.inputs

    @cached_property
    def release_parts(self) -> Parts:
        """Parts of the release's cache key."""
        return release_parts(self.inputs, self.point.chain, self.seed)

    @cached_property
    def release(self) -> Release:
        """The release under audit."""
        return self.builder.build_release(self.point.chain, self.seed)

    @property
    def condition(self) -> str:
        """Condition of its network: "none", "label" or "attribute"."""
        return self.inputs.condition(self.point.chain)

    @property
    def forgotten_label(self) -> int | None:
        """The label that the suite forgets, where the network is conditioned on labels."""
        table = self.inputs.suite.file.forget
        return table.label if table and self.condition == "label" else None

    # What attacks are given -------------------------------------------------------------------------------------------

    def images(self, rows: np.ndarray) -> Images:
        """Images of these rows on the device, with what the network is conditioned on."""
        inputs, labels = self.inputs, self.inputs.conditions(self.condition)
        return Images(
            inputs.images(rows).to(inputs.device),
            torch.from_numpy(rows).to(inputs.device),
            None if labels is None else torch.from_numpy(labels[rows]).to(inputs.device),
        )

    def target(self, attacks: Iterable[Attack]) -> AttackTarget:
        """The release as these attacks meet it. Only of shadow models do they learn what these were trained on: what a
        retrained one was trained on is nearly the target's own."""
        group = tuple(attacks)
        shadows = {need.name for need in collect_auxiliary_models(group) if need.kind == "shadow"}
        untold = np.empty(0, dtype=np.int64)
        others = {
            name: other if name in shadows else AuxiliaryRelease(other.source, untold)
            for name, other in self.auxiliary_releases(group).items()
        }
        return AttackTarget(QueriedRelease(self.release, lambda: self.samples), self.inputs.streams(self.seed), others)

    def auxiliary_releases(self, attacks: Iterable[Attack]) -> dict[str, AuxiliaryRelease]:
        """The other releases that attacks need, by name; their samples are drawn when they are first asked for."""
        inputs, count, others = self.inputs, self.inputs.suite.file.quality.samples, {}
        for need in collect_auxiliary_models(tuple(attacks)):
            chain = auxiliary_chain(need, self.point.chain)
            release = self.builder.build_release(chain, self.seed, need)
            if need.kind == "reference":  # asked about what the target denoises, whatever autoencoder it has itself
                release = replace(release, codec=self.release.codec)
            parts = self._auxiliary_samples_parts(need)
            source = QueriedRelease(release, partial(self._load_samples_of, release, count, parts))
            others[need.name] = AuxiliaryRelease(source, inputs.training_rows(need, self.seed))
        return others

    def _auxiliary_samples_parts(self, model: AuxiliaryModel) -> Parts:
        release = release_parts(self.inputs, auxiliary_chain(model, self.point.chain), self.seed, model)
        return samples_parts(release, self.inputs.suite.file.quality.samples)

    def _load_samples_of(self, release: Release, count: int, parts: Parts) -> Tensor:
        """Samples of another release, drawn once for all attacks and points."""
        with request_compile(self.inputs.suite.file.compile):
            return load_or_draw_samples(self.samples_cache, parts, lambda: release, count)[0]["samples"]

    # The release's own samples ----------------------------------------------------------------------------------------

    @cached_property
    def samples_cache(self) -> ArtefactCache:
        """The cache of samples."""
        return ArtefactCache.of_run(self.inputs.config, "samples")

    def list_samples_keys(self, models: Iterable[AuxiliaryModel]) -> list[str]:
        """Keys of the release's own samples, and of those of auxiliary models."""
        parts = [self._samples_parts, *map(self._auxiliary_samples_parts, models)]
        return list(map(hash_parts, parts))

    @property
    def _samples_parts(self) -> Parts:
        return samples_parts(self.release_parts, self.inputs.suite.file.quality.samples, self.forgotten_label)

    @property
    def samples(self) -> Tensor:
        """Samples (N, C, H, W) on the CPU."""
        return self._drawn[0]["samples"]

    @cached_property
    def requested_labels(self) -> Tensor | None:
        """The label or attribute that each sample was conditioned on (N,), on the CPU, or None."""
        labels = self.release.labels(torch.arange(self.inputs.suite.file.quality.samples, device=self.inputs.device))
        return None if labels is None else labels.cpu()

    @property
    def forgotten_label_samples(self) -> Tensor | None:
        """Half as many further samples, all conditioned on the label that is to be forgotten; None where there is no
        such label."""
        return self._drawn[0].get("conditioned")

    @property
    def sampling_facts(self) -> dict[str, Any]:
        """Facts of sampling, "sample_seconds" among them."""
        return self._drawn[1]

    def draw_samples(self) -> None:
        """Draw the samples now, or find them in the cache."""
        _ = self._drawn

    @cached_property
    def _drawn(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Drawn once, then cached."""
        count, label = self.inputs.suite.file.quality.samples, self.forgotten_label
        with request_compile(self.inputs.suite.file.compile):
            return load_or_draw_samples(self.samples_cache, self._samples_parts, lambda: self.release, count, label)

    def execution_notes(self, attacks: Iterable[Attack]) -> dict[str, Any]:
        """Notes on training the release and those that these attacks needed, and on sampling: "smaller_batches" and
        "compiled"."""
        notes = [self.sampling_facts] if "_drawn" in vars(self) else []
        for need in (None, *collect_auxiliary_models(tuple(attacks))):
            chain = auxiliary_chain(need, self.point.chain) if need else self.point.chain
            notes += self.builder.training_facts(chain, self.seed, need)
        return merge_execution_notes(*notes)


def collect_auxiliary_models(attacks: tuple[Attack, ...]) -> list[AuxiliaryModel]:
    """Every release that some attack needs, each once, by name. Raises UsageError if two mean different ones by it."""
    needs: dict[str, AuxiliaryModel] = {}
    for attack in attacks:
        for need in attack.auxiliary_models():
            if needs.setdefault(need.name, need) != need:
                raise UsageError(
                    f"two attacks need different releases under the name {need.name!r}; give one another name"
                )
    return list(needs.values())

"""What the audit of a release draws on: the release, its samples, other releases that attacks need, and images."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from leakbench.api import Attack, AuxiliaryModel, Release
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.query_engine import AttackTarget, AuxiliaryRelease
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.keys import key_of
from leakbench.runtime.code_digest import sources
from leakbench.runtime.device import merge_execution_notes, record_execution, request_compile
from leakbench.runtime.errors import UsageError
from leakbench.suite.load import ReleaseSpec


@dataclass(eq=False)
class AuditContext:
    """One release of a suite at one seed. Everything is built, drawn or loaded when it is first asked for."""

    bench: ReleaseBuilder
    extractor: FeatureExtractor
    point: ReleaseSpec
    seed: int

    @cached_property
    def key(self) -> str:
        """Key of the release."""
        return self.bench.release_key(self.point, self.seed)

    @cached_property
    def release(self) -> Release:
        """The release under audit."""
        return self.bench.released(self.point.chain, self.seed)

    @property
    def condition(self) -> str:
        """What its network is conditioned on: "none", "label" or "attribute"."""
        return self.bench.condition(self.point.chain)

    @property
    def forgotten_label(self) -> int | None:
        """The label that the suite forgets, where the network is conditioned on labels."""
        table = self.bench.suite.file.forget
        return table.label if table and self.condition == "label" else None

    # What attacks are given -------------------------------------------------------------------------------------------

    def images(self, rows: np.ndarray) -> Images:
        """Images of these rows on the device, with what the network is conditioned on."""
        bench, labels = self.bench, self.bench.conditions(self.condition)
        return Images(
            bench.images(rows).to(bench.device),
            torch.from_numpy(rows).to(bench.device),
            None if labels is None else torch.from_numpy(labels[rows]).to(bench.device),
        )

    def target(self, attacks: Iterable[Attack]) -> AttackTarget:
        """The release as these attacks meet it. Only of shadow models do they learn what these were trained on: what a
        retrained one was trained on is nearly the target's own."""
        group = tuple(attacks)
        shadows = {need.name for need in needs_of(group) if need.kind == "shadow"}
        untold = np.empty(0, dtype=np.int64)
        others = {
            name: other if name in shadows else AuxiliaryRelease(other.source, untold)
            for name, other in self.auxiliary_releases(group).items()
        }
        return AttackTarget(QueriedRelease(self.release, lambda: self.samples), self.bench.streams(self.seed), others)

    def auxiliary_releases(self, attacks: Iterable[Attack]) -> dict[str, AuxiliaryRelease]:
        """The other releases that attacks need, by name; their samples are drawn when they are first asked for."""
        bench, count, others = self.bench, self.bench.suite.file.quality.samples, {}
        for need in needs_of(tuple(attacks)):
            chain = bench.chain_of(need, self.point.chain)
            release = bench.released(chain, self.seed, need)
            key = key_of(release=bench.needed_key(chain, self.seed, need), n=count)
            source = QueriedRelease(release, partial(self._load_samples_of, release, count, key))
            others[need.name] = AuxiliaryRelease(source, bench.training_rows(need, self.seed))
        return others

    def _load_samples_of(self, release: Release, count: int, key: str) -> Tensor:
        """Samples of another release, drawn once for all attacks and points."""

        def make(folder: Path) -> None:
            with request_compile(self.bench.suite.file.compile):
                save_file({"samples": release.sample(count).contiguous()}, folder / "samples.safetensors")

        return load_file(self.samples_cache.get_or_make(key, make) / "samples.safetensors")["samples"]

    # The release's own samples ----------------------------------------------------------------------------------------

    @cached_property
    def samples_cache(self) -> ArtefactCache:
        """The cache folder of samples."""
        return ArtefactCache.of_run(self.bench.setting, "samples")

    @property
    def samples_key(self) -> str:
        """Key of the drawn samples."""
        return key_of(
            release=self.key,
            n=self.bench.suite.file.quality.samples,
            forgotten=self.forgotten_label,
            drawing=sources("measurement.audit_context"),
        )

    @property
    def samples(self) -> Tensor:
        """Samples (N, C, H, W) on the CPU."""
        return self._drawn[0]["samples"]

    @cached_property
    def requested_labels(self) -> Tensor | None:
        """What each sample was conditioned on (N,), on the CPU, or None."""
        labels = self.release.labels(torch.arange(self.bench.suite.file.quality.samples, device=self.bench.device))
        return None if labels is None else labels.cpu()

    @property
    def forgotten_label_samples(self) -> Tensor | None:
        """Half as many further samples, all conditioned on the label that is to be forgotten; None where there is no
        such label."""
        return self._drawn[0].get("conditioned")

    @property
    def sampling_facts(self) -> dict[str, Any]:
        """What sampling showed, "sample_seconds" among it."""
        return self._drawn[1]

    def draw_samples(self) -> None:
        """Draw the samples now, or find them in the cache."""
        _ = self._drawn

    @cached_property
    def _drawn(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Drawn once, then cached."""
        n = self.bench.suite.file.quality.samples

        def make(folder: Path) -> None:
            began = time.perf_counter()
            with request_compile(self.bench.suite.file.compile), record_execution() as notes:
                drawn = {"samples": self.release.sample(n).contiguous()}
                facts = self.release.facts() | {"sample_seconds": time.perf_counter() - began}
                if self.forgotten_label is not None:
                    label = torch.full((n // 2,), self.forgotten_label)
                    drawn["conditioned"] = self.release.sample(n // 2, label, first=n).contiguous()
                facts |= notes()
            save_file(drawn, folder / "samples.safetensors")
            (folder / "facts.json").write_text(json.dumps(facts, sort_keys=True))

        folder = self.samples_cache.get_or_make(self.samples_key, make)
        return load_file(folder / "samples.safetensors"), json.loads((folder / "facts.json").read_text())

    def execution_notes(self, attacks: Iterable[Attack]) -> dict[str, Any]:
        """How the release, and those that these attacks needed, were trained and its samples drawn, where that is
        "smaller_batches" or "compiled"."""
        bench, notes = self.bench, [self.sampling_facts] if "_drawn" in vars(self) else []
        for need in (None, *needs_of(tuple(attacks))):
            chain = bench.chain_of(need, self.point.chain) if need else self.point.chain
            notes += bench.infos(chain, self.seed, need)
        return merge_execution_notes(*notes)


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

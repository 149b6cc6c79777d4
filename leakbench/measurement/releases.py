"""Everything that the cells of a run share: the data and its split, random streams, artefacts and their keys.

Key of an artefact = hash(own training fields, plugin version and source, harness modules that compute, base's key,
data, split, network, schedule, device kind, seed). A release's key adds the sampling fields of the whole chain.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Artefacts, AuxiliaryModel, Defense, Release, Task, shipped_parts
from leakbench.data.image_view import ImageView
from leakbench.data.near_duplicates import near_duplicate_groups
from leakbench.measurement.inputs import RunInputs
from leakbench.models.artefact_io import load_artefacts, save_artefacts
from leakbench.models.latent_cache import encode_images
from leakbench.runtime import distributed, registry
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.keys import digest_of, key_of
from leakbench.runtime.code_digest import sources
from leakbench.runtime.device import record_execution, request_compile
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import ChainLink, ReleaseSpec, Suite

_COMPUTING = (
    "api",
    "models.artefact_io",
    "data.caption_file",
    "data.close_pairs",
    "metrics.copying",
    "data",
    "models.denoiser_training",
    "runtime.device",
    "runtime.device.batching",
    "runtime.device.compile",
    "runtime.device.devices",
    "runtime.device.execution",
    "runtime.device.precision",
    "runtime.device.rng",
    "models.diffusion",
    "data.near_duplicates",
    "models.latent_cache",
    "models.pretrained",
    "models.pretrained.adapter",
    "models.pretrained.build",
    "models.pretrained.compatibility",
    "models.pretrained.denoiser",
    "models.pretrained.inspect",
    "models.pretrained.locate",
    "models.pretrained.prediction",
    "models.pretrained.release",
    "models.pretrained.text_conditioning",
    "models.pretrained.vae",
    "models.pretrained.weights",
    "data.forget_set",
    "runtime.distributed",
    "api.answer_cache",
    "data.neighbours",
    "models.networks",
    "data.image_view",
    "data.prefetch",
    "models.sampling",
    "measurement.inputs",
    "models.training.checkpoints",
    "models.training.gradients",
    "models.training.loop",
    "models.training.stacked",
    "api.views",
    "measurement.releases",
)

Progress = Callable[[float], None]


class ReleaseBuilder(RunInputs):
    """One suite's data, releases and keys. Cheap to make; everything is loaded when it is first asked for."""

    def __init__(self, suite: Suite, setting: RunConfig) -> None:
        super().__init__(suite, setting)
        self.trainings = ArtefactCache.of_run(setting, "fits")
        self._loaded: dict[str, Artefacts] = {}
        self._grouped: dict[tuple[AuxiliaryModel | None, int], Tensor] = {}

    def with_suite(self, suite: Suite) -> ReleaseBuilder:
        """A workbench for another version of the suite, with the same data and split, which are not made again."""
        other = ReleaseBuilder(suite, self.setting)
        shared = ("data", "split", "split_seconds", "pictures")
        vars(other).update({key: vars(self)[key] for key in shared if key in vars(self)})
        return other

    # Keys ------------------------------------------------------------------------------------------------------------

    def fit_key(self, chain: tuple[ChainLink, ...], seed: int, need: AuxiliaryModel | None = None) -> str:
        """Key of what training the last link of a chain makes."""
        defense = chain[-1].defense
        return key_of(
            name=defense.name,
            # Whatever is not marked as sampling-stage counts, so that a forgotten mark costs time and no truth.
            training={key: getattr(defense, key) for key in sorted(_trained_by(type(defense)))},
            source=registry.source_digest(type(defense)),
            harness=sources(*_COMPUTING),
            base=self._below(chain, seed, need) if len(chain) > 1 else None,
            forget=self.forgotten.tolist() if self.forgotten is not None and _forgets(defense, need) else None,
            network=self.network_of(chain).model_dump(),
            files=digest_of(defense.files()),
            holds=defense.holds(),
            condition=self.condition(chain),
            schedule=asdict(replace(self.schedule_of(chain), steps=0, clip=False)),  # the walk is the release's key's
            device=self.device.type,
            compile=self.suite.file.compile,
            seed=seed,
            need=need and [need.kind, need.draw, need.share],
            **self.data_key,
        )

    def _below(self, chain: tuple[ChainLink, ...], seed: int, need: AuxiliaryModel | None) -> str:
        """Key of the base: of its training alone, or of its answers too where a fit asks for them."""
        below = chain[:-1]
        return (self._release_key if chain[-1].defense.fit_samples_base else self.fit_key)(below, seed, need)

    def release_key(self, point: ReleaseSpec, seed: int) -> str:
        """Key of a release: its chain's fits, their sampling parameters, the walk and the compute batch."""
        return self._release_key(point.chain, seed, None)

    def needed_key(self, chain: tuple[ChainLink, ...], seed: int, need: AuxiliaryModel) -> str:
        """Key of a release that attacks need."""
        return self._release_key(chain, seed, need)

    def _release_key(self, chain: tuple[ChainLink, ...], seed: int, need: AuxiliaryModel | None) -> str:
        links = [
            [self.fit_key(chain[: i + 1], seed, need), link.defense.model_dump(mode="json")]
            for i, link in enumerate(chain)
        ]
        return key_of(chain=links, sampler=self.suite.file.sampler.model_dump(), compile=self.suite.file.compile)

    # Training and releasing -------------------------------------------------------------------------------------------

    def checkpoints(self, key: str) -> Path:
        """Where a fit of this key keeps its checkpoints while it trains."""
        return self.setting.cache / "checkpoints" / key

    def artefacts(self, chain: tuple[ChainLink, ...], seed: int, need: AuxiliaryModel | None = None) -> Artefacts:
        """What training the last link of a chain made: from the cache, or trained now."""
        key = self.fit_key(chain, seed, need)
        if key not in self._loaded:
            folder = self.trainings.get_valid(key)
            if folder is None:
                self.train(chain, seed, (need,))
                folder = self.trainings.path(key)
            self._loaded[key] = load_artefacts(folder, self.device)
        return self._loaded[key]

    def train(
        self,
        chain: tuple[ChainLink, ...],
        seed: int,
        needs: Sequence[AuxiliaryModel | None],
        progress: Progress | None = None,
    ) -> None:
        """Train the last link of a chain for the target (None) or for what attacks need, together if the defense knows
        how; what is in the cache is left out."""
        keys = {self.fit_key(chain, seed, need): need for need in needs}
        missing = {key: need for key, need in keys.items() if self.trainings.get_valid(key) is None}
        tell = _shares(progress, len(missing))
        tasks = [
            self.task(chain, seed, need, self.checkpoints(key), told)
            for (key, need), told in zip(missing.items(), tell, strict=True)
        ]
        # Around the loop: what fit_together answers may be made one after the other.
        with distributed.data_parallel(), request_compile(self.suite.file.compile), record_execution() as manner:
            for key, made in zip(missing, chain[-1].defense.fit_together(tasks), strict=True):
                self.trainings.write(key, partial(save_artefacts, replace(made, info=made.info | manner())))
                shutil.rmtree(self.checkpoints(key), ignore_errors=True)

    def task(
        self,
        chain: tuple[ChainLink, ...],
        seed: int,
        need: AuxiliaryModel | None = None,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> Task:
        """What the last link of a chain is given."""
        rows, table = self.training_rows(need, seed), self.suite.file.forget
        images = self.images(rows)
        labels, attribute = (
            None if values is None else torch.from_numpy(values[rows])
            for values in (self.data.labels, self.split.attribute)
        )
        base = self.released(chain[:-1], seed, need) if len(chain) > 1 else None
        return Task(
            images=encode_images(images, base),
            labels=labels,
            attribute=attribute,
            condition=self.condition(chain),
            near_duplicates=partial(self._groups, need, seed, images),
            heldout=encode_images(self.part("reference"), base),
            network=self.network_of(chain),
            schedule=self.schedule_of(chain),
            streams=self.streams(seed, need),
            device=self.device,
            forget=self._forget_mask(rows) if chain[-1].defense.forgets else None,
            forget_label=table.label if table and chain[-1].defense.forgets else None,
            chain=tuple(link.defense for link in chain[:-1]),
            base=base,
            folder=folder,
            progress=progress,
        )

    def _forget_mask(self, rows: np.ndarray) -> Tensor | None:
        return None if self.forgotten is None else torch.from_numpy(np.isin(rows, self.forgotten))

    def _groups(self, need: AuxiliaryModel | None, seed: int, images: ImageView) -> Tensor:
        """Near-duplicate groups of the training images, found once."""
        key = (need, 0 if need is None else seed)  # the target's own images are the same at every seed
        if key not in self._grouped:
            self._grouped[key] = near_duplicate_groups(images, self.split.duplicates.radius)
        return self._grouped[key]

    def released(self, chain: tuple[ChainLink, ...], seed: int, need: AuxiliaryModel | None = None) -> Release:
        """The release of a chain, with its sampling-stage parameters applied."""
        made = self.artefacts(chain, seed, need)
        release = chain[-1].defense.release(made, self.task(chain, seed, need))
        if undeclared := set(release.parts) - shipped_parts([link.defense for link in chain]):
            raise UsageError(
                f"defense {chain[-1].id!r} ships {min(undeclared)!r}, which it does not declare in `ships`"
            )
        return Release.with_batch(release, self.suite.file.sampler.batch)

    def infos(
        self, chain: tuple[ChainLink, ...], seed: int, need: AuxiliaryModel | None = None
    ) -> list[dict[str, Any]]:
        """What the training of each link of a chain noted."""
        return [self.artefacts(chain[: i + 1], seed, need).info for i in range(len(chain))]

    def cost(self, chain: tuple[ChainLink, ...], seed: int) -> tuple[float, int]:
        """Training seconds and network evaluations of a whole chain."""
        infos = self.infos(chain, seed)
        seconds = sum(float(info.get("train_seconds", 0.0)) for info in infos)
        return seconds, sum(int(info.get("network_evaluations", 0)) for info in infos)


def _forgets(defense: Defense, need: AuxiliaryModel | None) -> bool:
    return defense.forgets or (need is not None and need.kind == "retrained")


def _shares(progress: Progress | None, count: int) -> list[Progress | None]:
    """What each of several trainings tells its share to: `progress` is told their mean."""
    if progress is None:
        return [None] * count
    shares = [0.0] * count

    def tell(number: int, share: float) -> None:
        shares[number] = share
        progress(sum(shares) / count)

    return [partial(tell, number) for number in range(count)]


def _trained_by(defense: type[Defense]) -> set[str]:
    return set(defense.model_fields) - defense.fields_of("sampling")

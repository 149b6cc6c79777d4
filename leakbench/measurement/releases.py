"""Trains the links of a chain of defenses, keeps what training made in the cache, and builds releases from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from leakbench.api import Artefacts, AuxiliaryModel, Release, Task
from leakbench.data.image_view import ImageView
from leakbench.data.near_duplicates import near_duplicate_groups
from leakbench.measurement.environment import describe_environment
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import Parts, fit_parts, hash_parts
from leakbench.measurement.tasks import Progress, build_release, build_task, is_without_forgotten
from leakbench.models.artefact_io import load_artefacts, save_artefacts
from leakbench.runtime import distributed
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.key_file import write_key_parts
from leakbench.runtime.device import record_execution, request_compile
from leakbench.suite.release_spec import ChainLink

ENVIRONMENT = "environment.json"


class ReleaseBuilder:
    """Trains and releases what a suite asks for. It has the run's inputs and the cache of what training made."""

    def __init__(self, inputs: RunInputs) -> None:
        self.inputs = inputs
        self.trainings = ArtefactCache.of_run(inputs.config, "fits")
        self._folders: dict[str, Path] = {}
        self._loaded: dict[str, Artefacts] = {}
        self._groups: dict[tuple[AuxiliaryModel | None, int, bool], Tensor] = {}

    # What training made ----------------------------------------------------------------------------------------------

    def checkpoints(self, key: str) -> Path:
        """The folder in which a fit of this key keeps its checkpoints while it trains."""
        return self.inputs.config.cache / "checkpoints" / key

    def artefacts(self, chain: tuple[ChainLink, ...], seed: int, auxiliary: AuxiliaryModel | None = None) -> Artefacts:
        """Artefacts of training the last link of a chain, from the cache or made now; kept until `unload`."""
        folder = self._folder(chain, seed, auxiliary)
        if folder.name not in self._loaded:
            self._loaded[folder.name] = load_artefacts(folder, self.inputs.device)
        return self._loaded[folder.name]

    def unload(self) -> None:
        """Let go of all loaded networks: the next release reads its own from the cache."""
        self._loaded.clear()
        self._folders.clear()

    def _folder(self, chain: tuple[ChainLink, ...], seed: int, auxiliary: AuxiliaryModel | None) -> Path:
        """The folder of what training the last link made, trained now if it is not there. Its hashes are checked once
        between two `unload`."""
        key = hash_parts(fit_parts(self.inputs, chain, seed, auxiliary))
        if key not in self._folders:
            folder = self.trainings.get_valid(key)
            if folder is None:
                self.train(chain, seed, (auxiliary,))
                folder = self.trainings.path(key)
            self._folders[key] = folder
        return self._folders[key]

    def training_facts(
        self, chain: tuple[ChainLink, ...], seed: int, auxiliary: AuxiliaryModel | None = None
    ) -> list[dict[str, Any]]:
        """Facts that the training of each link noted. Loads no network."""
        return [self._read(chain[: i + 1], seed, auxiliary, "info.json") for i in range(len(chain))]

    def training_environments(
        self, chain: tuple[ChainLink, ...], seed: int, auxiliary: AuxiliaryModel | None = None
    ) -> list[dict[str, str]]:
        """The machine and versions that each link was trained with."""
        return [self._read(chain[: i + 1], seed, auxiliary, ENVIRONMENT) for i in range(len(chain))]

    def _read(self, chain: tuple[ChainLink, ...], seed: int, auxiliary: AuxiliaryModel | None, name: str) -> Any:
        return json.loads((self._folder(chain, seed, auxiliary) / name).read_text())

    def cost(self, chain: tuple[ChainLink, ...], seed: int) -> tuple[float, int]:
        """Training seconds and network evaluations of a whole chain."""
        facts = self.training_facts(chain, seed)
        seconds = sum(float(info.get("train_seconds", 0.0)) for info in facts)
        return seconds, sum(int(info.get("network_evaluations", 0)) for info in facts)

    # Training --------------------------------------------------------------------------------------------------------

    def train(
        self,
        chain: tuple[ChainLink, ...],
        seed: int,
        models: Sequence[AuxiliaryModel | None],
        progress: Progress | None = None,
    ) -> None:
        """Train the last link of a chain for the target (None) or auxiliary models, together if the defense knows how.
        What is in the cache is left out."""
        parts = {model: fit_parts(self.inputs, chain, seed, model) for model in models}
        keys = {hash_parts(found): model for model, found in parts.items()}
        with self.trainings.one_writer(keys):  # another run may be training the same
            missing = {key: model for key, model in keys.items() if self.trainings.get_valid(key) is None}
            self._train_missing(chain, seed, missing, parts, progress)

    def _train_missing(
        self,
        chain: tuple[ChainLink, ...],
        seed: int,
        missing: dict[str, AuxiliaryModel | None],
        parts: dict[AuxiliaryModel | None, Parts],
        progress: Progress | None,
    ) -> None:
        shares = _split_progress(progress, len(missing))
        tasks = [
            self.task(chain, seed, model, self.checkpoints(key), share)
            for (key, model), share in zip(missing.items(), shares, strict=True)
        ]
        # Around the loop: fit_together may make one after the other, each when it is asked for.
        compiled = request_compile(self.inputs.suite.file.compile)
        with distributed.data_parallel(), compiled, record_execution() as notes:
            for (key, model), made in zip(missing.items(), chain[-1].defense.fit_together(tasks), strict=True):
                made = replace(made, info=made.info | notes())
                self.trainings.write(key, partial(self._save, made, parts[model]))
                shutil.rmtree(self.checkpoints(key), ignore_errors=True)

    def _save(self, made: Artefacts, parts: Parts, folder: Path) -> None:
        save_artefacts(made, folder)
        write_key_parts(folder, parts)
        (folder / ENVIRONMENT).write_text(json.dumps(describe_environment(self.inputs.device), indent=1) + "\n")

    def task(
        self,
        chain: tuple[ChainLink, ...],
        seed: int,
        auxiliary: AuxiliaryModel | None = None,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> Task:
        """Task that the last link of a chain trains on. `folder`: of its checkpoints."""
        base = self.build_release(chain[:-1], seed, auxiliary) if len(chain) > 1 else None
        # The target's own images are the same at every seed.
        images = auxiliary, 0 if auxiliary is None else seed, is_without_forgotten(chain)
        groups = partial(self._near_duplicates, images)
        return build_task(
            self.inputs, chain, seed, auxiliary, base=base, groups=groups, folder=folder, progress=progress
        )

    def _near_duplicates(
        self, key: tuple[AuxiliaryModel | None, int, bool], images: ImageView, radius: float
    ) -> Tensor:
        """Near-duplicate groups of the training images that the key names, found once."""
        if key not in self._groups:
            self._groups[key] = near_duplicate_groups(images, radius)
        return self._groups[key]

    def build_release(
        self, chain: tuple[ChainLink, ...], seed: int, auxiliary: AuxiliaryModel | None = None
    ) -> Release:
        """The release of a chain, with its release-stage parameters applied."""
        made, task = self.artefacts(chain, seed, auxiliary), self.task(chain, seed, auxiliary)
        return build_release(chain, made, task, self.inputs.suite.file.sampler.batch)


def _split_progress(progress: Progress | None, count: int) -> list[Progress | None]:
    """A progress function for each of several trainings: `progress` is told the mean of their shares."""
    if progress is None:
        return [None] * count
    shares = [0.0] * count

    def tell(number: int, share: float) -> None:
        shares[number] = share
        progress(sum(shares) / count)

    return [partial(tell, number) for number in range(count)]

"""Everything that the cells of a run share: the data and its split, random streams, artefacts and their keys.

Key of an artefact = hash(own training fields, plugin version and source, harness modules that compute, base's key,
data, split, network, schedule, device kind, seed). A release's key adds the sampling fields of the whole chain.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from leakbench import networks, plugins
from leakbench.api import Artefacts, Defense, Need, Release, Task
from leakbench.data import Dataset, Split, draw_split, near_duplicate_groups
from leakbench.device import Streams, prepare
from leakbench.diffusion import Schedule
from leakbench.errors import UsageError
from leakbench.forget import forget_rows
from leakbench.networks import NetworkSpec
from leakbench.store import Store, key_of
from leakbench.suite import Link, Point, Suite

_COMPUTING = (
    "api",
    "copying",
    "data",
    "denoising",
    "device",
    "diffusion",
    "forget",
    "memory",
    "neighbours",
    "networks",
    "together",
    "training",
    "views",
    "workbench",
)

Progress = Callable[[float], None]


@cache
def sources(*modules: str) -> str:
    """sha256 of the source of harness modules; of a package, all its files."""
    total = hashlib.sha256()
    for name in modules:
        spec = find_spec(f"leakbench.{name}")
        assert spec is not None and spec.origin is not None
        origin = Path(spec.origin)
        for path in sorted(origin.parent.glob("*.py")) if spec.submodule_search_locations else (origin,):
            total.update(path.read_bytes())
    return total.hexdigest()


@dataclass(frozen=True)
class Setting:
    """Where and how a run works; plain data, so that worker processes can be handed it."""

    out: Path
    cache: Path
    device: str = "cpu"
    images: bool = True


class Workbench:
    """One suite's data, releases and keys. Cheap to make; everything is loaded when it is first asked for."""

    def __init__(self, suite: Suite, setting: Setting) -> None:
        self.suite, self.setting = suite, setting
        self.device = torch.device(setting.device)
        prepare(self.device)
        self.fits = Store(setting.cache, "fits")
        self._loaded: dict[str, Artefacts] = {}
        self._grouped: dict[tuple[Need | None, int], Tensor] = {}

    @cached_property
    def data(self) -> Dataset:
        """The suite's data set."""
        loaded: Dataset = plugins.dataset(self.suite.file.dataset, f"suite {self.suite.file.name!r}")()
        return loaded

    @cached_property
    def split(self) -> Split:
        """Its split."""
        return draw_split(self.data, self.suite.file.split)

    @cached_property
    def forgotten(self) -> np.ndarray | None:
        """Rows that the suite's [forget] table names, or None without one. Raises UsageError for none or all."""
        table = self.suite.file.forget
        return None if table is None else forget_rows(self.data, self.split, table, f"suite {self.suite.file.name!r}")

    @cached_property
    def schedule(self) -> Schedule:
        """Noise schedule and sampling walk."""
        return Schedule(steps=self.suite.file.sampler.steps)

    def condition(self, chain: tuple[Link, ...]) -> str:
        """What the network of a chain is conditioned on: as its first defense says, or else as [network] does."""
        return chain[0].condition or self.suite.file.network.condition

    def conditions(self, condition: str) -> np.ndarray | None:
        """The labels or attributes (all rows) that a network of this condition is given."""
        return {"none": None, "label": self.data.labels, "attribute": self.split.attribute}[condition]

    def network(self, condition: str) -> NetworkSpec:
        """The denoiser's spec: the default for the image size, changed by [network]. Raises UsageError."""
        table, values = self.suite.file.network, self.conditions(condition)
        if values is None and condition != "none":
            raise UsageError(f"condition = {condition!r}: {self.data.name} has no {condition}s")
        if condition == "attribute" and values is not None:
            self._check_attribute(values[self.split.train])
        count = 0 if values is None else int(values.max()) + 1
        changed = {key: getattr(table, key) for key in ("width", "blocks") if getattr(table, key) is not None}
        return networks.default_spec(self.data.shape, count).model_copy(update=changed)

    def _check_attribute(self, values: np.ndarray) -> None:
        if set(values.tolist()) != {0, 1}:
            raise UsageError(
                f"condition = 'attribute': the training images of {self.data.name} have attribute "
                f"{', '.join(map(str, np.unique(values)))}; a sensitive attribute has the two values 0 and 1"
            )

    @cached_property
    def model(self) -> str:
        """The network in words."""
        spec = self.network("none")
        return f"{spec.kind}-{spec.width}x{spec.blocks}"

    def streams(self, seed: int, need: Need | None = None) -> Streams:
        """Random streams of (dataset, seed). Shadow models and canaries have their own: they differ in all noise."""
        if need is None or need.kind == "retrained":
            return Streams(self.data.name, seed)
        own = f"{need.draw}/{need.share}" if need.kind == "shadow" else f"canary/{need.draw}"
        return Streams(f"{self.data.name}/{own}", seed)

    def images(self, rows: np.ndarray) -> Tensor:
        """Images of these rows on the CPU."""
        return self.data.tensors(rows)

    def part(self, name: str) -> Tensor:
        """Images of a part of the split on the CPU."""
        return self.images(self.split.parts[name])

    @cached_property
    def train_images(self) -> Tensor:
        """What the releases were trained on: member and calibration_in."""
        return self.images(self.split.train)

    @property
    def heldout_rows(self) -> np.ndarray:
        """Rows of real images that nothing was trained on: nonmember and calibration_out."""
        return np.sort(np.concatenate([self.split.parts["nonmember"], self.split.parts["calibration_out"]]))

    @cached_property
    def heldout_images(self) -> Tensor:
        """Their images."""
        return self.images(self.heldout_rows)

    @cached_property
    def data_key(self) -> dict[str, Any]:
        """What of the data every artefact depends on."""
        return {"dataset": self.data.name, "data": self.data.digest, "split": self.split.digest}

    def training_rows(self, need: Need | None, seed: int) -> np.ndarray:
        """Rows that a release trains on: the target's, or what a needed one is trained on (see Need)."""
        if need is None:
            return self.split.train
        if need.kind == "retrained":
            assert self.forgotten is not None
            return np.setdiff1d(self.split.train, self.forgotten)
        if need.kind == "canary":
            return self.pool[np.random.default_rng([seed, need.draw, 0xC0145]).random(len(self.pool)) < 0.5]
        order = np.random.default_rng([seed, need.draw, 0x5AD0]).permutation(self.pool)
        return np.sort(order[: round(need.share * len(self.pool))])

    @cached_property
    def pool(self) -> np.ndarray:
        """Rows of every part but `reference`."""
        return np.sort(np.concatenate([rows for part, rows in self.split.parts.items() if part != "reference"]))

    def chain_of(self, need: Need, chain: tuple[Link, ...]) -> tuple[Link, ...]:
        """The part of a target's chain that a needed release repeats."""
        if need.kind == "canary":
            return chain
        if need.kind == "retrained":
            return chain[:1]
        return tuple(link for link in chain if link.defense.changes != "sampling")

    # Keys ------------------------------------------------------------------------------------------------------------

    def fit_key(self, chain: tuple[Link, ...], seed: int, need: Need | None = None) -> str:
        """Key of what training the last link of a chain makes."""
        defense = chain[-1].defense
        return key_of(
            name=defense.name,
            # Whatever is not marked as sampling-stage counts, so that a forgotten mark costs time and no truth.
            training={key: getattr(defense, key) for key in sorted(_trained_by(type(defense)))},
            source=plugins.source_digest(type(defense)),
            harness=sources(*_COMPUTING),
            base=self._below(chain, seed, need) if len(chain) > 1 else None,
            forget=self.forgotten.tolist() if self.forgotten is not None and _forgets(defense, need) else None,
            network=self.network(self.condition(chain)).model_dump(),
            condition=self.condition(chain),
            schedule=[self.schedule.T, self.schedule.beta_first, self.schedule.beta_last],
            device=self.device.type,
            seed=seed,
            need=need and [need.kind, need.draw, need.share],
            **self.data_key,
        )

    def _below(self, chain: tuple[Link, ...], seed: int, need: Need | None) -> str:
        """Key of the base: of its training alone, or of its answers too where a fit asks for them."""
        below = chain[:-1]
        return (self._release_key if chain[-1].defense.asks_base else self.fit_key)(below, seed, need)

    def release_key(self, point: Point, seed: int) -> str:
        """Key of a release: its chain's fits, their sampling parameters, the walk and the compute batch."""
        return self._release_key(point.chain, seed, None)

    def needed_key(self, chain: tuple[Link, ...], seed: int, need: Need) -> str:
        """Key of a release that attacks need."""
        return self._release_key(chain, seed, need)

    def _release_key(self, chain: tuple[Link, ...], seed: int, need: Need | None) -> str:
        links = [
            [self.fit_key(chain[: i + 1], seed, need), link.defense.model_dump(mode="json")]
            for i, link in enumerate(chain)
        ]
        return key_of(chain=links, sampler=self.suite.file.sampler.model_dump())

    # Training and releasing -------------------------------------------------------------------------------------------

    def checkpoints(self, key: str) -> Path:
        """Where a fit of this key keeps its checkpoints while it trains."""
        return self.setting.cache / "checkpoints" / key

    def artefacts(self, chain: tuple[Link, ...], seed: int, need: Need | None = None) -> Artefacts:
        """What training the last link of a chain made: from the cache, or trained now."""
        key = self.fit_key(chain, seed, need)
        if key not in self._loaded:
            folder = self.fits.open(key)
            if folder is None:
                self.train(chain, seed, (need,))
                folder = self.fits.path(key)
            self._loaded[key] = load_artefacts(folder, self.device)
        return self._loaded[key]

    def train(
        self, chain: tuple[Link, ...], seed: int, needs: Sequence[Need | None], progress: Progress | None = None
    ) -> None:
        """Train the last link of a chain for the target (None) or for what attacks need, together if the defense knows
        how; what is in the cache is left out."""
        keys = {self.fit_key(chain, seed, need): need for need in needs}
        missing = {key: need for key, need in keys.items() if self.fits.open(key) is None}
        tell = _shares(progress, len(missing))
        tasks = [
            self.task(chain, seed, need, self.checkpoints(key), told)
            for (key, need), told in zip(missing.items(), tell, strict=True)
        ]
        for key, made in zip(missing, chain[-1].defense.fit_together(tasks), strict=True):
            self.fits.write(key, partial(save_artefacts, made))
            shutil.rmtree(self.checkpoints(key), ignore_errors=True)

    def task(
        self,
        chain: tuple[Link, ...],
        seed: int,
        need: Need | None = None,
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
        return Task(
            images=images,
            labels=labels,
            attribute=attribute,
            condition=self.condition(chain),
            groups=self._groups(need, seed, images),
            heldout=self.part("reference"),
            network=self.network(self.condition(chain)),
            schedule=self.schedule,
            streams=self.streams(seed, need),
            device=self.device,
            forget=self._forget_mask(rows) if chain[-1].defense.forgets else None,
            forget_label=table.label if table and chain[-1].defense.forgets else None,
            below=tuple(link.defense for link in chain[:-1]),
            base=self.released(chain[:-1], seed, need) if len(chain) > 1 else None,
            folder=folder,
            progress=progress,
        )

    def _forget_mask(self, rows: np.ndarray) -> Tensor | None:
        return None if self.forgotten is None else torch.from_numpy(np.isin(rows, self.forgotten))

    def _groups(self, need: Need | None, seed: int, images: Tensor) -> Tensor:
        """Near-duplicate groups of the training images, found once."""
        key = (need, 0 if need is None else seed)  # the target's own images are the same at every seed
        if key not in self._grouped:
            self._grouped[key] = near_duplicate_groups(images)
        return self._grouped[key]

    def released(self, chain: tuple[Link, ...], seed: int, need: Need | None = None) -> Release:
        """The release of a chain, with its sampling-stage parameters applied."""
        made = self.artefacts(chain, seed, need)
        release = chain[-1].defense.release(made, self.task(chain, seed, need))
        return Release.with_batch(release, self.suite.file.sampler.batch)

    def cost(self, chain: tuple[Link, ...], seed: int) -> tuple[float, int]:
        """Training seconds and network evaluations of a whole chain."""
        infos = [self.artefacts(chain[: i + 1], seed).info for i in range(len(chain))]
        seconds = sum(float(info.get("train_seconds", 0.0)) for info in infos)
        return seconds, sum(int(info.get("network_evaluations", 0)) for info in infos)


def _forgets(defense: Defense, need: Need | None) -> bool:
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


def save_artefacts(made: Artefacts, folder: Path) -> None:
    """Write networks, tensors (safetensors) and info (JSON) into a folder."""
    for name, network in made.networks.items():
        networks.save(network, folder, f"network.{name}")
    if made.tensors:
        save_file(
            {key: value.cpu().contiguous() for key, value in made.tensors.items()}, folder / "tensors.safetensors"
        )
    (folder / "info.json").write_text(json.dumps(made.info, indent=1, sort_keys=True) + "\n")


def load_artefacts(folder: Path, device: torch.device) -> Artefacts:
    """Read what `save_artefacts` wrote."""
    names = [path.name.removeprefix("network.").removesuffix(".json") for path in sorted(folder.glob("network.*.json"))]
    tensors = folder / "tensors.safetensors"
    return Artefacts(
        {name: networks.load(folder, f"network.{name}", device) for name in names},
        load_file(tensors) if tensors.is_file() else {},
        json.loads((folder / "info.json").read_text()),
    )

"""A run's inputs, before anything is trained: data, split, networks, schedules, random streams.

torch is imported where something is asked for that is made of it: the device, images, random streams.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from leakbench.api import AuxiliaryModel, as_pretrained, pretrained_spec
from leakbench.data import Dataset, Split, SplitSpec, draw_split
from leakbench.data.forget_set import forget_rows
from leakbench.measurement.auxiliary import release_rng, trainable_rows, training_rows
from leakbench.models.network_spec import NetworkSpec, default_spec
from leakbench.models.pretrained.compatibility import check_fits, schedule_with_walk
from leakbench.models.schedule import Schedule
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.release_spec import ChainLink
from leakbench.suite.suite import Suite

if TYPE_CHECKING:
    import torch

    from leakbench.data.image_view import ImageView
    from leakbench.data.overlap import Overlap
    from leakbench.runtime.device import Rng

NETWORK_SIZES = ("width", "blocks", "levels", "attention", "dropout")  # of [network], as a NetworkSpec has them


class RunInputs:
    """One suite's data, split, networks, schedules and random streams. Loaded when first asked for."""

    def __init__(self, suite: Suite, config: RunConfig) -> None:
        self.suite, self.config = suite, config
        self._datasets: dict[tuple[str, bool], Dataset] = {}  # of all versions of the suite
        self._splits: dict[tuple[str, bool, SplitSpec], tuple[Split, float]] = {}
        self._networks: dict[str, NetworkSpec] = {}  # by condition
        self.fit_keys: dict[tuple[Hashable, ...], str] = {}  # kept by leakbench.measurement.keys

    @classmethod
    def outlined(cls, suite: Suite, config: RunConfig, data: Dataset, split: Split) -> RunInputs:
        """Inputs whose data and split are known already, if only in outline (leakbench.data.outline)."""
        found = cls(suite, config)
        found._datasets[found._data_name] = data
        found._splits[found._split_name] = split, 0.0
        return found

    @cached_property
    def device(self) -> torch.device:
        """Where to compute."""
        import torch

        return torch.device(self.config.device)

    def with_suite(self, suite: Suite) -> RunInputs:
        """Inputs for another version of the suite. The data is not loaded again, nor is an equal split drawn again."""
        other = RunInputs(suite, self.config)
        other._datasets, other._splits = self._datasets, self._splits
        return other

    @property
    def split_seconds(self) -> float:
        """Seconds that drawing the split took; 0 before."""
        return self._splits[self._split_name][1] if self._split_name in self._splits else 0.0

    @property
    def _data_name(self) -> tuple[str, bool]:
        return self.suite.file.dataset, self.suite.file.skip_broken

    @property
    def _split_name(self) -> tuple[str, bool, SplitSpec]:
        return *self._data_name, self.suite.file.split

    @cached_property
    def data(self) -> Dataset:
        """The suite's data set."""
        if self._data_name not in self._datasets:
            file = self.suite.file
            data: Dataset = registry.dataset(file.dataset, f"suite {file.name!r}", file.skip_broken)()
            self._datasets[self._data_name] = data
        return self._datasets[self._data_name]

    @cached_property
    def split(self) -> Split:
        """Its split."""
        if self._split_name not in self._splits:
            data, began = self.data, time.perf_counter()
            drawn = draw_split(data, self.suite.file.split)
            self._splits[self._split_name] = drawn, time.perf_counter() - began
        return self._splits[self._split_name][0]

    @cached_property
    def overlap(self) -> Overlap | None:
        """Overlap of nonmembers with members, of a given split; None of one that was drawn here."""
        from leakbench.data.side_overlap import overlap_of_split

        return overlap_of_split(self.data, self.split)

    @cached_property
    def forgotten(self) -> np.ndarray | None:
        """Rows that the suite's [forget] table names, trained on or not; None without one. Raises UsageError where they
        are none or all of the training images."""
        table = self.suite.file.forget
        return None if table is None else forget_rows(self.data, self.split, table, f"suite {self.suite.file.name!r}")

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """What was made of image files and chosen among files of given models, in words."""
        models = dict.fromkeys(as_pretrained(point.chain[0].defense) for point in self.suite.points)
        said = (f"{model.display_name()}: {one}" for model in models if model is not None for one in model.remarks())
        return (*self.data.remarks, *said)

    @cached_property
    def schedule(self) -> Schedule:
        """Noise schedule and sampling walk."""
        return Schedule(steps=self.suite.file.sampler.steps, clip=self.suite.file.sampler.clip)

    def condition(self, chain: tuple[ChainLink, ...]) -> str:
        """Condition of a chain's network: as its first defense says, or else as [network] does; of a
        given model, as the model is."""
        if spec := pretrained_spec(chain[0].defense):
            return "label" if spec.network.conditions else "none"
        return chain[0].condition or self.suite.file.network.condition

    def conditions(self, condition: str) -> np.ndarray | None:
        """The labels or attributes (all rows) that a network of this condition is given."""
        if condition == "attribute":
            return self.split.attribute  # drawn only where it is asked for
        return self.data.labels if condition == "label" else None

    def network(self, condition: str) -> NetworkSpec:
        """The denoiser's spec: the default for the image size, changed by [network]. Raises UsageError.

        Where all that the suite has is one given model, it is that model's.
        """
        if self._given_network is not None:
            return self._given_network
        if condition not in self._networks:
            self._networks[condition] = self._build_spec(condition)
        return self._networks[condition]

    @cached_property
    def _given_network(self) -> NetworkSpec | None:
        first = {point.chain[0].defense for point in self.suite.points}
        spec = pretrained_spec(first.pop()) if len(first) == 1 else None
        return None if spec is None else spec.network

    def _build_spec(self, condition: str) -> NetworkSpec:
        table, values = self.suite.file.network, self.conditions(condition)
        if values is None and condition != "none":
            raise UsageError(f"condition = {condition!r}: {self.data.name} has no {condition}s")
        if condition == "attribute" and values is not None:
            self._check_attribute(values[self.split.train])
        count = 0 if values is None else int(values.max()) + 1
        changed = {key: value for key in NETWORK_SIZES if (value := getattr(table, key)) is not None}
        found = default_spec(self.data.shape, count).model_copy(update=changed)
        if found.kind == "mlp" and found.levels:
            raise UsageError(f"network.levels = {list(found.levels)}: images up to 8x8 have the MLP, which has none")
        return found

    def network_of(self, chain: tuple[ChainLink, ...]) -> NetworkSpec:
        """The spec of a chain: a given model's, or `network`. Raises UsageError where a given model and the data do not
        fit together."""
        spec = pretrained_spec(chain[0].defense)
        if spec is None:
            return self.network(self.condition(chain))
        check_fits(chain[0].id, spec, self.data)
        return spec.network

    def schedule_of(self, chain: tuple[ChainLink, ...]) -> Schedule:
        """The noise schedule of a chain, a given model's or the suite's, with the suite's walk."""
        spec = pretrained_spec(chain[0].defense) if chain else None
        sampler = self.suite.file.sampler
        return self.schedule if spec is None else schedule_with_walk(chain[0].id, spec, sampler.steps, sampler.clip)

    def _check_attribute(self, values: np.ndarray) -> None:
        if set(values.tolist()) != {0, 1}:
            raise UsageError(
                f"condition = 'attribute': the training images of {self.data.name} have attribute "
                f"{', '.join(map(str, np.unique(values)))}; a sensitive attribute has the two values 0 and 1"
            )

    @cached_property
    def model(self) -> str:
        """The network of the first point in words."""
        return self.model_of(self.suite.points[0].chain)

    def model_of(self, chain: tuple[ChainLink, ...]) -> str:
        """The network of a chain in words; a given model by what it is called."""
        model = as_pretrained(chain[0].defense)
        if model is not None:
            return model.display_name()
        spec = self.network("none")
        levels = "-" + ".".join(map(str, spec.levels)) if spec.levels else ""
        return f"{spec.kind}-{spec.width}x{spec.blocks}{levels}"

    def streams(self, seed: int, auxiliary: AuxiliaryModel | None = None) -> Rng:
        """Random streams of a release of the target, or of an auxiliary model."""
        return release_rng(self.data.name, seed, auxiliary)

    @cached_property
    def pictures(self) -> ImageView:
        """All images of the data set."""
        from leakbench.data.image_view import ImageView

        return ImageView(self.data.images)

    def images(self, rows: np.ndarray) -> ImageView:
        """Images of these rows on the CPU, made when they are asked for."""
        return self.pictures.subset(rows)

    def part(self, name: str) -> ImageView:
        """Images of a part of the split on the CPU."""
        return self.images(self.split.parts[name])

    @property
    def train_images(self) -> ImageView:
        """Images that releases are trained on: member and calibration_in."""
        return self.images(self.split.train)

    @property
    def heldout_rows(self) -> np.ndarray:
        """Rows of real images that nothing was trained on: nonmember and calibration_out."""
        return np.sort(np.concatenate([self.split.parts["nonmember"], self.split.parts["calibration_out"]]))

    @property
    def heldout_images(self) -> ImageView:
        """Their images."""
        return self.images(self.heldout_rows)

    @cached_property
    def data_key(self) -> dict[str, Any]:
        """Parts of the data that every artefact depends on."""
        return {
            "dataset": self.data.name,
            "data": self.data.digest,
            "split": self.split.digest,
            "duplicate_radius": self.split.duplicates.radius,
        }

    def training_rows(self, auxiliary: AuxiliaryModel | None, seed: int) -> np.ndarray:
        """Rows that a release trains on: the target's (None), or those of an auxiliary model."""
        return training_rows(self.split, self.forgotten, auxiliary, seed)

    @cached_property
    def pool(self) -> np.ndarray:
        """Rows of every part but `reference`."""
        return trainable_rows(self.split)

"""The task that the last link of a chain trains on, and the release made of what training it gave.

Together with a defense's own code, this is the code that a fit can reach: what it reads of the run's inputs (the data,
the split, the network, the schedule) is in the fit's cache key by value.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from leakbench.api import UPDATES, Artefacts, AuxiliaryModel, Release, Task, shipped_parts
from leakbench.data.image_view import ImageView
from leakbench.data.near_duplicates import near_duplicate_groups
from leakbench.measurement.auxiliary import release_rng, training_rows
from leakbench.measurement.canaries import Canaries
from leakbench.measurement.inputs import RunInputs
from leakbench.models.latent_cache import encode_images
from leakbench.runtime.errors import UsageError
from leakbench.suite.release_spec import ChainLink

Progress = Callable[[float], None]
Groups = Callable[[ImageView, float], Tensor]


def build_task(
    inputs: RunInputs,
    chain: tuple[ChainLink, ...],
    seed: int,
    auxiliary: AuxiliaryModel | None = None,
    *,
    base: Release | None = None,
    groups: Groups = near_duplicate_groups,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Task:
    """The task of a chain's last link. `base`: the release of the links below it; `groups` finds near-duplicates.

    Above a step that forgot, nobody is handed the forgotten images but those who forget themselves: whoever deletes
    images on request has them no longer, and a classifier that were trained on them would hand them out again.
    """
    split, defense, table = inputs.split, chain[-1].defense, inputs.suite.file.forget
    rows = training_rows(split, inputs.forgotten, auxiliary, seed)
    if is_without_forgotten(chain):
        assert inputs.forgotten is not None
        rows = np.setdiff1d(rows, inputs.forgotten)
    made = Canaries.of(split, auxiliary, seed) if auxiliary and auxiliary.kind == "canary" else None
    images = made.images(inputs.pictures, rows) if made else inputs.pictures.subset(rows)
    reference, conditions, values = (
        split.parts["reference"],
        inputs.conditions(inputs.condition(chain)),
        inputs.data.labels,
    )
    labels = None if values is None else torch.from_numpy(made.labels(values, rows) if made else values[rows])
    attribute = None if split.attribute is None else torch.from_numpy(split.attribute[rows])
    return Task(
        images=encode_images(images, base),
        labels=labels,
        attribute=attribute,
        groups=None if split.group is None else torch.from_numpy(split.group[rows].astype(np.int64)),
        condition=inputs.condition(chain),
        near_duplicates=lambda: groups(images, split.duplicates.radius),
        heldout=encode_images(inputs.pictures.subset(reference), base),
        heldout_conditions=None if conditions is None else torch.from_numpy(conditions[reference]),
        network=inputs.network_of(chain),
        schedule=inputs.schedule_of(chain),
        streams=release_rng(inputs.data.name, seed, auxiliary),
        device=inputs.device,
        gradient_canaries=made.gradients(rows) if made else None,
        forget=_forget_mask(inputs.forgotten, rows) if defense.forgets else None,
        forget_label=table.label if table and defense.forgets else None,
        chain=tuple(link.defense for link in chain[:-1]),
        base=base,
        folder=folder,
        progress=progress,
    )


def is_without_forgotten(chain: tuple[ChainLink, ...]) -> bool:
    """Tell whether the last link of a chain is handed what stays alone: it stands on a step that forgot, and does not
    forget itself."""
    return not chain[-1].defense.forgets and any(link.defense.forgets for link in chain[:-1])


def _forget_mask(forgotten: np.ndarray | None, rows: np.ndarray) -> Tensor | None:
    return None if forgotten is None else torch.from_numpy(np.isin(rows, forgotten))


def build_release(chain: tuple[ChainLink, ...], artefacts: Artefacts, task: Task, batch: int) -> Release:
    """The release of a chain's last link, with its release-stage parameters and the suite's compute batch. Raises
    UsageError where it ships parts that no defense of the chain declares."""
    release = chain[-1].defense.release(artefacts, task)
    declared = shipped_parts([link.defense for link in chain]) | ({UPDATES} if task.gradient_canaries else set())
    if undeclared := set(release.parts) - declared:
        raise UsageError(f"defense {chain[-1].id!r} ships {min(undeclared)!r}, which it does not declare in `ships`")
    return Release.with_batch(release, batch)

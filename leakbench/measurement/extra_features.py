"""What joins every quality record where its weights lie on this machine: FD-dinov2, and copies by SSCD.

- `frechet_heldout@features=dinov2`, `frechet@...`, `frechet_floor@...`: the distances of leakbench.metrics.quality in
  DINOv2's features, which follow what people see more closely than Inception's do (Stein et al. 2306.04675).
- `copy_rate@features=sscd`, its null, excess and distinct images: copies as of any replication attack, by the cosine
  of SSCD's descriptors, at the threshold that held-out real images set, and at the published one.

Neither is measured twice: not where the suite's own features are the same, or one of its attacks already asks SSCD.
Choices of ours: [quality] `beside` leaves them out; images below 32 pixels are not asked about, since a network of
photographs says little about them, enlarged seven times and more, and would cost most of a small run's time; and a
`--budget` on a CPU does without DINOv2, which takes seconds an image there, unless the suite names it.
"""

from __future__ import annotations

import time
from functools import cached_property
from math import inf

import torch
from torch import Tensor

from leakbench.api import ReplicationAttack, ReplicationEvidence
from leakbench.data.image_view import ImageView
from leakbench.data.neighbours import Matches
from leakbench.measurement.inputs import RunInputs
from leakbench.metrics import quality
from leakbench.metrics.copying import feature_similarity
from leakbench.metrics.evaluate.findings import MetricSet, metric
from leakbench.metrics.evaluate.replication import replication
from leakbench.metrics.features import Features, file_digest
from leakbench.metrics.weights.dinov2 import DINOv2, lacking_dinov2
from leakbench.metrics.weights.resources import DINOV2, at_hand
from leakbench.metrics.weights.sscd import PUBLISHED, SSCD, sscd_weights

SMALLEST = 32  # pixels of the shorter side
PRODUCTS = {"dinov2": 81e9, "sscd": 6.8e9}  # an image: ViT-L/14 at 224, ResNet-50 at 288


def names_beside(inputs: RunInputs) -> tuple[str, ...]:
    """Which of dinov2 and sscd are measured beside the suite's own features on this machine."""
    table = inputs.suite.file.quality
    if min(inputs.data.shape[1:]) < SMALLEST:
        return ()
    attacks = (attack for attack in inputs.suite.attacks.values() if isinstance(attack, ReplicationAttack))
    scarce = inputs.suite.budget is not None and inputs.device.type == "cpu" and "beside" not in table.model_fields_set
    asked = {table.features, *(attack.space("") for attack in attacks), *(["dinov2"] if scarce else [])}
    here = {"dinov2": lacking_dinov2() is None, "sscd": sscd_weights() is not None}
    return tuple(name for name in table.beside if here[name] and name not in asked)


def seconds_beside(inputs: RunInputs) -> float:
    """About how long they take for an image, by what this device multiplies in a second."""
    products = sum(PRODUCTS[name] for name in names_beside(inputs))
    return products / _speed(inputs) if products else 0.0


def _speed(inputs: RunInputs) -> float:
    """Products a second, by the best of five multiplications of matrices."""
    left, right = (torch.ones(1024, 1024, device=inputs.device) for _ in range(2))
    best = inf
    for _ in range(5):
        began = time.perf_counter()
        (left @ right).sum().item()
        best = min(best, time.perf_counter() - began)
    return 1024**3 / best


def weights_beside(inputs: RunInputs) -> dict[str, str]:
    """The hashes of the weights that are used, by name: records depend on them."""
    paths = {"dinov2": at_hand(DINOV2), "sscd": sscd_weights()}
    return {name: file_digest(paths[name]) for name in names_beside(inputs)}


class ExtraFeatures:
    """The networks that join, each with its features of real images, made once for all releases of a run."""

    def __init__(self, inputs: RunInputs) -> None:
        self.inputs = inputs

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """By name; loads their networks. Raises ValueError when a file holds something else."""
        makers: dict[str, type[DINOv2] | type[SSCD]] = {"dinov2": DINOv2, "sscd": SSCD}
        return {name: Space(self.inputs, makers[name](self.inputs.device)) for name in names_beside(self.inputs)}

    def findings(self, samples: Tensor) -> MetricSet:
        """All that they say of samples (N, C, H, W)."""
        found = MetricSet([])
        for name, space in self.spaces.items():
            found = found.joined(_distances(space, samples) if name == "dinov2" else _copies(space, samples))
        return found


class Space:
    """One embedding, and its features of a split's real images."""

    def __init__(self, inputs: RunInputs, embed: Features) -> None:
        self.inputs, self.embed = inputs, embed
        self._known: dict[str, Tensor] = {}

    def __call__(self, images: Tensor | ImageView) -> Tensor:
        """Features (N, D) of images (N, C, H, W), on the device."""
        return self.embed(images.to(self.inputs.device))  # type: ignore[arg-type]

    def real(self, part: str) -> Tensor:
        """Features of "train", "heldout" or a part of the split."""
        if part not in self._known:
            rows = {"train": self.inputs.split.train, "heldout": self.inputs.heldout_rows, **self.inputs.split.parts}
            self._known[part] = self(self.inputs.images(rows[part])).cpu()
        return self._known[part].to(self.inputs.device)


def _distances(space: Space, samples: Tensor) -> MetricSet:
    ours, train, heldout = space(samples), space.real("train"), space.real("heldout")
    found = {
        "frechet": quality.frechet(ours, train),
        "frechet_heldout": quality.frechet(ours, heldout),
        "frechet_floor": quality.frechet(train, heldout),
    }
    return MetricSet([metric(f"{name}@features=dinov2", value) for name, value in found.items()])


def _copies(space: Space, samples: Tensor) -> MetricSet:
    ours, calibration, null = (
        _match(space, x) for x in (space(samples), space.real("reference"), space.real("nonmember"))
    )
    evidence = ReplicationEvidence(ours.similarity, ours.index, calibration.similarity, null.similarity)
    found = replication(evidence, PUBLISHED, grows=False)
    named = [one.model_copy(update={"name": f"{one.name}@features=sscd"}) for one in found.metrics]
    return MetricSet(named, info={"sscd": found.info})


def _match(space: Space, features: Tensor) -> Matches:
    return feature_similarity(features, space.real("train"))

"""Features measured beside the suite's own in every quality record: FD-dinov2, and copies by SSCD.

- `frechet_heldout@features=dinov2`, `frechet@...`, `frechet_floor@...`: the distances of leakbench.metrics.quality in
  DINOv2's features, which follow what people see more closely than Inception's do (Stein et al. 2306.04675).
- `copy_rate@features=sscd`, its null, excess and distinct images: copies as of any replication attack, by the cosine
  of SSCD's descriptors, at the threshold that held-out real images set, and at the published one.

Which are measured: leakbench.measurement.extra_features_policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from leakbench.api import ReplicationEvidence
from leakbench.data.image_view import ImageView
from leakbench.data.neighbours import Matches
from leakbench.data.split_groups import groups_of_copies
from leakbench.measurement.extra_features_policy import list_extra_features
from leakbench.measurement.inputs import RunInputs
from leakbench.metrics import quality
from leakbench.metrics.copying import feature_similarity
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.metrics.evaluate.replication import evaluate_replication
from leakbench.metrics.features import Features
from leakbench.metrics.weights.dinov2 import DINOv2
from leakbench.metrics.weights.sscd import PUBLISHED, SSCD


@dataclass(eq=False)
class ExtraFeatures:
    """The extra networks, each with its features of real images, made once for all releases of a run."""

    inputs: RunInputs

    @cached_property
    def spaces(self) -> dict[str, FeatureSpace]:
        """By name; loads their networks. Raises ValueError when a file holds something else."""
        makers: dict[str, type[DINOv2] | type[SSCD]] = {"dinov2": DINOv2, "sscd": SSCD}
        return {
            name: FeatureSpace(self.inputs, makers[name](self.inputs.device))
            for name in list_extra_features(self.inputs)
        }

    def measure(self, samples: Tensor) -> MetricSet:
        """Measure samples (N, C, H, W) by all of them."""
        metrics = MetricSet([])
        for name, space in self.spaces.items():
            metrics = metrics.joined(_distances(space, samples) if name == "dinov2" else _copies(space, samples))
        return metrics


@dataclass(eq=False)
class FeatureSpace:
    """One network, and its features of a split's real images."""

    inputs: RunInputs
    embed: Features
    _known: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, images: Tensor | ImageView) -> Tensor:
        """Features (N, D) of images (N, C, H, W), on the device."""
        return self.embed(images.to(self.inputs.device))  # type: ignore[arg-type]

    def real(self, part: str) -> Tensor:
        """Features of "train", "heldout" or a part of the split."""
        if part not in self._known:
            rows = {"train": self.inputs.split.train, "heldout": self.inputs.heldout_rows, **self.inputs.split.parts}
            self._known[part] = self(self.inputs.images(rows[part])).cpu()
        return self._known[part].to(self.inputs.device)


def _distances(space: FeatureSpace, samples: Tensor) -> MetricSet:
    ours, train, heldout = space(samples), space.real("train"), space.real("heldout")
    n = min(len(ours), len(train), len(heldout))
    found = {
        "frechet": quality.frechet(ours, train, n),
        "frechet_heldout": quality.frechet(ours, heldout, n),
        "frechet_floor": quality.frechet(train, heldout, n),
    }
    return MetricSet([metric(f"{name}@features=dinov2", value) for name, value in found.items()])


def _copies(space: FeatureSpace, samples: Tensor) -> MetricSet:
    ours, calibration, null = (
        _match(space, x) for x in (space(samples), space.real("reference"), space.real("nonmember"))
    )
    whose = groups_of_copies(space.inputs.split, ours.index)
    evidence = ReplicationEvidence(ours.similarity, ours.index, calibration.similarity, null.similarity, **whose)
    found = evaluate_replication(evidence, PUBLISHED, grows=False)
    named = [one.model_copy(update={"name": f"{one.name}@features=sscd"}) for one in found.metrics]
    return MetricSet(named, info={"sscd": found.info})


def _match(space: FeatureSpace, features: Tensor) -> Matches:
    return feature_similarity(features, space.real("train"))

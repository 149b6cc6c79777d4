"""Distances of samples to real images, from their features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from leakbench.data.image_view import ImagesLike
from leakbench.metrics import quality
from leakbench.metrics.copying import pixel_similarity
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.metrics.weights import perceptual
from leakbench.results.record import Metric
from leakbench.runtime.device import Rng


def evaluate_quality(samples: Tensor, train: Tensor, heldout: Tensor, network_evaluations: int) -> MetricSet:
    """Distances of samples' features (N, D) to training and held-out images', and the real-against-real floor."""
    n = min(len(samples), len(train), len(heldout))
    precision, recall = quality.precision_recall(samples, heldout)
    metrics = [
        metric("frechet", quality.frechet(samples, train)),
        metric("frechet_heldout", quality.frechet(samples, heldout)),
        metric("frechet_floor", quality.frechet(train, heldout)),
        metric("kid", quality.kid(samples, heldout)),
        metric("precision", precision),
        metric("recall", recall),
        Metric(name="network_evaluations", value=float(network_evaluations), n=len(samples)),
    ]
    return MetricSet(metrics, info={"images_per_side": n})


def evaluate_lpips(samples: Tensor, train: ImagesLike, streams: Rng) -> MetricSet:
    """LPIPS diversity and distance to the nearest training image (by pixels); without weights, a flag says so."""
    distance = perceptual.load_lpips()
    if distance is None:
        return MetricSet(
            [], {"lpips-missing"}
        )  # `leakbench doctor` says where they go; a path has no place in a record
    closest = train[torch.from_numpy(pixel_similarity(samples, train).index)]
    return MetricSet(
        [
            metric("lpips_diversity", perceptual.diversity(samples, distance, streams.of("lpips pairs"))),
            metric("lpips_nearest", perceptual.nearest_distance(samples, closest, distance)),
        ]
    )


def moment_arrays(features: Tensor) -> dict[str, np.ndarray]:
    """Mean, covariance and number of features, so that a distance can be recomputed."""
    found = quality.moments(features)
    return {"mean": found.mean, "covariance": found.covariance, "n": np.array(found.n)}

"""Distances of samples to real images, from their features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from leakbench.data.image_view import ImagesLike, ImageView
from leakbench.metrics import quality
from leakbench.metrics.copying import pixel_similarity
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.metrics.frechet_distance import moments
from leakbench.metrics.weights import perceptual
from leakbench.results.record import Metric
from leakbench.results.share_arrays import share_name
from leakbench.runtime.device import Rng
from leakbench.statistics.estimate import Estimate


def evaluate_quality(
    samples: Tensor, train: Tensor, heldout: Tensor, floor: Callable[[int], Estimate], network_evaluations: int
) -> tuple[MetricSet, dict[str, np.ndarray]]:
    """Distances of samples' features (N, D) to training and held-out images', and the real-against-real floor: all
    three at the same number of images, that of the smallest side. `floor(n)` answers the last of them, which all
    releases share.

    Also what the record keeps of the features: their moments, so that a distance can be recomputed, and each sample's
    and real image's share in each metric, float32, by which two releases are compared in pairs.
    """
    n = min(len(samples), len(train), len(heldout))
    frechet, of_frechet = quality.frechet_with_shares(samples, train, n)
    frechet_heldout, of_heldout = quality.frechet_with_shares(samples, heldout, n)
    kid, of_kid = quality.kid_with_shares(samples, heldout)
    (precision, of_precision), (recall, of_recall) = quality.precision_recall_with_shares(samples, heldout)
    metrics = [
        metric("frechet", frechet),
        metric("frechet_heldout", frechet_heldout),
        metric("frechet_floor", floor(n)),
        metric("kid", kid),
        metric("precision", precision),
        metric("recall", recall),
        Metric(name="network_evaluations", value=float(network_evaluations), n=len(samples)),
    ]
    shares: dict[str, tuple[np.ndarray, ...]] = {
        "frechet": of_frechet,
        "frechet_heldout": of_heldout,
        "kid": of_kid,
        "precision": (of_precision,),
        "recall": (of_recall,),
    }
    return MetricSet(metrics, info={"images_per_side": n}), _moments(samples) | _share_arrays(shares)


def evaluate_lpips(samples: Tensor, train: ImagesLike, streams: Rng) -> MetricSet:
    """LPIPS diversity and distance to the nearest training image (by pixels); without weights, a flag says so."""
    distance = perceptual.load_lpips()
    if distance is None:
        return MetricSet(
            [], {"lpips-missing"}
        )  # `leakbench doctor` says where they go; a path has no place in a record
    closest = ImageView.concatenate([train]).subset(pixel_similarity(samples, train).index)  # read pair by pair
    return MetricSet(
        [
            metric("lpips_diversity", perceptual.diversity(samples, distance, streams.of("lpips pairs"))),
            metric("lpips_nearest", perceptual.nearest_distance(samples, closest, distance)),
        ]
    )


def _moments(samples: Tensor) -> dict[str, np.ndarray]:
    found = moments(samples)
    return {"mean": found.mean, "covariance": found.covariance, "n": np.array(found.n)}


def _share_arrays(shares: dict[str, tuple[np.ndarray, ...]]) -> dict[str, np.ndarray]:
    return {
        share_name(name, side): one.astype(np.float32)
        for name, sides in shares.items()
        for side, one in enumerate(sides)
    }

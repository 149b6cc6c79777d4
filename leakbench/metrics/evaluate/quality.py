"""Distances of samples to real images, from their features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from leakbench.data.image_view import ImagesLike, ImageView
from leakbench.metrics import quality
from leakbench.metrics.copying import pixel_similarity
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.metrics.quality_shares import frechet_shares, kid_shares, precision_recall_shares
from leakbench.metrics.weights import perceptual
from leakbench.results.record import Metric
from leakbench.results.share_arrays import share_name
from leakbench.runtime.device import Rng
from leakbench.statistics.estimate import Estimate


def evaluate_quality(
    samples: Tensor, train: Tensor, heldout: Tensor, floor: Callable[[int], Estimate], network_evaluations: int
) -> MetricSet:
    """Distances of samples' features (N, D) to training and held-out images', and the real-against-real floor: all
    three at the same number of images, that of the smallest side. `floor(n)` answers the last of them, which all
    releases share."""
    n = min(len(samples), len(train), len(heldout))
    precision, recall = quality.precision_recall(samples, heldout)
    metrics = [
        metric("frechet", quality.frechet(samples, train, n)),
        metric("frechet_heldout", quality.frechet(samples, heldout, n)),
        metric("frechet_floor", floor(n)),
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
    closest = ImageView.concatenate([train]).subset(pixel_similarity(samples, train).index)  # read pair by pair
    return MetricSet(
        [
            metric("lpips_diversity", perceptual.diversity(samples, distance, streams.of("lpips pairs"))),
            metric("lpips_nearest", perceptual.nearest_distance(samples, closest, distance)),
        ]
    )


def quality_arrays(samples: Tensor, train: Tensor, heldout: Tensor) -> dict[str, np.ndarray]:
    """What the record keeps of samples' features (N, D): their moments, so that a distance can be recomputed, and each
    sample's and real image's share in each metric, float32, by which two releases are compared in pairs."""
    found, n = quality.moments(samples), min(len(samples), len(train), len(heldout))
    arrays = {"mean": found.mean, "covariance": found.covariance, "n": np.array(found.n)}
    precision, recall = precision_recall_shares(samples, heldout)
    shares: dict[str, tuple[np.ndarray, ...]] = {
        "frechet": frechet_shares(samples, train, n),
        "frechet_heldout": frechet_shares(samples, heldout, n),
        "kid": kid_shares(samples, heldout),
        "precision": (precision,),
        "recall": (recall,),
    }
    for name, sides in shares.items():
        arrays |= {share_name(name, side): one.astype(np.float32) for side, one in enumerate(sides)}
    return arrays

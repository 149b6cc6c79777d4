"""Measures of samples' features that a suite asks for by `quality.measures`, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from torch import Tensor

from leakbench.metrics.authenticity import authenticity
from leakbench.metrics.copying_test import copying_test
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.metrics.feature_likelihood import feature_likelihood
from leakbench.metrics.infinite_distance import frechet_infinite
from leakbench.metrics.random_order import pick
from leakbench.metrics.vendi import vendi
from leakbench.results.flags import Flag
from leakbench.results.record import Metric

_FEWEST = 10  # training images, held-out images and samples: below so many, nothing here is worth its interval

Measure = Callable[[Tensor, Tensor, Tensor], list[Metric]]


def evaluate_asked_quality(names: Iterable[str], samples: Tensor, train: Tensor, heldout: Tensor) -> MetricSet:
    """Measure features of samples (N, D), training images (M, D) and held-out images (K, D) by those of
    MEASURES that are named. What takes more images than there are is left out, and the flag `too-few-images`
    and `left_out` of the facts say so.
    """
    metrics, left_out = [], []
    enough = min(len(samples), len(train), len(heldout)) >= _FEWEST
    for name in names:
        if found := MEASURES[name](samples, train, heldout) if enough else []:
            metrics += found
        else:
            left_out.append(name)
    flags = {Flag.TOO_FEW_IMAGES.value} if left_out else set()
    return MetricSet(metrics, flags, info={"left_out": left_out} if left_out else {})


def _infinite(samples: Tensor, train: Tensor, heldout: Tensor) -> list[Metric]:
    found = frechet_infinite(samples, heldout)
    return [] if found is None else [metric("frechet_heldout_infinite", found)]


def _likelihood(samples: Tensor, train: Tensor, heldout: Tensor) -> list[Metric]:
    n = min(len(train), len(heldout))
    found = feature_likelihood(samples, pick(train, n), pick(heldout, n))
    return [
        metric("fld", found.divergence),
        metric("fld_gap", found.gap),
        metric("fld_gap_null", found.null),
        metric("fld_gap_excess", found.excess),
    ]


def _authenticity(samples: Tensor, train: Tensor, heldout: Tensor) -> list[Metric]:
    n = min(len(train), len(heldout))
    found = authenticity(samples, pick(train, n), pick(heldout, n))
    return [
        metric("authenticity", found.value),
        metric("authenticity_null", found.null),
        metric("authenticity_excess", found.excess),
    ]


def _copying_test(samples: Tensor, train: Tensor, heldout: Tensor) -> list[Metric]:
    found = copying_test(samples, train, heldout)
    return [] if found is None else [metric("c_t", found)]


def _vendi(samples: Tensor, train: Tensor, heldout: Tensor) -> list[Metric]:
    n = min(len(samples), len(heldout))
    return [metric("vendi", vendi(pick(samples, n))), metric("vendi_real", vendi(pick(heldout, n)))]


MEASURES: Final[dict[str, Measure]] = {
    "fd_infinity": _infinite,
    "fld": _likelihood,
    "authenticity": _authenticity,
    "c_t": _copying_test,
    "vendi": _vendi,
}

"""FLD, the feature likelihood divergence, and its generalisation gap (Jiralerspong et al. 2302.04440).

Each sample is the centre of an isotropic Gaussian in feature space, of equal weight and a variance e^s_j of its own,
which is fitted to make the *training* images most likely. A sample that copies a training image gets a tiny variance.
With the negative log likelihood of a set by the mixture, in nats a feature,
    FLD = 100 (NLL of held-out images - their NLL by the baseline),
where the baseline has one half of the training images as its centres and is fitted to the other: 0 is as good as these;
    gap = 100 (NLL of training images - NLL of held-out images), far below 0 where samples are copies.

The fit, as published: Adam of rate 0.5 for 50 passes at the most, from s = ln((least squared distance + 1e-3) / D),
within +-40, ended when five losses lie within 5e-4; one more Gaussian, around the mean of the training images (squared
distances times 0.81), takes part in the fit alone. At most 10,000 centres.

Choices of ours. Features are standardised by training and held-out images together, where the paper takes held-out
ones; features that do not vary are left out. Training and held-out images are cut to equal numbers, since the gap is
below 0 even of samples that remember nothing: variances are fitted to the very images that are asked about. Its null is
the gap with training and held-out images in each other's place; of such samples both have one law, and the excess of
the gap over its null is 0 on average, exactly. Intervals are means of images +- 1.96 standard errors, and take samples
and fits as given.

Of excesses whose true value is 0, 60 repetitions at each of 2, 8 and 32 features with three laws and 80 to 300 images a
side: the interval lies off 0 in .02 to .08 (`pytest -m slow -s tests/leakbench/metrics -k likelihood`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi, sqrt

import torch
from torch import Tensor

from leakbench.models.training.adam import Adam
from leakbench.statistics.estimate import Estimate

_RATE, _PASSES, _BOUND = 0.5, 50, 40.0
_STILL, _WITHIN = 5, 5e-4  # losses that lie within
_SHRUNK = 0.81  # squared distances to the mean of the images that a mixture is fitted to
_MOST = 10_000  # centres
_ROWS = 512  # images whose densities are held at one time


@dataclass(frozen=True)
class Likelihood:
    """FLD, the generalisation gap, its null and its excess, in hundredths of a nat a feature."""

    divergence: Estimate
    gap: Estimate
    null: Estimate
    excess: Estimate


def feature_likelihood(samples: Tensor, train: Tensor, heldout: Tensor) -> Likelihood:
    """FLD and gap of samples (N, D), training images (M, D) and held-out images (M, D).

    Raises ValueError where the last two are not equally many, or fewer than four.
    """
    if len(train) != len(heldout) or len(train) < 4:
        raise ValueError(f"{len(train)} training and {len(heldout)} held-out images: equal numbers are needed, above 3")
    samples, train, heldout = _standardise(samples[:_MOST], train, heldout)
    by_train, by_heldout = _fit(samples, train), _fit(samples, heldout)
    seen, unseen = by_train.surprise(train), by_train.surprise(heldout)
    swapped_seen, swapped_unseen = by_heldout.surprise(heldout), by_heldout.surprise(train)
    middle = len(train) // 2
    baseline = _fit(train[: min(len(samples), middle)], train[middle:])
    return Likelihood(
        divergence=_mean_difference(unseen - baseline.surprise(heldout)),
        gap=_mean_difference(seen, unseen),
        null=_mean_difference(swapped_seen, swapped_unseen),
        excess=_mean_difference(seen + swapped_unseen, unseen + swapped_seen),
    )


@dataclass(frozen=True)
class _Mixture:
    centres: Tensor  # (K, D), float64
    log_variances: Tensor  # (K,)

    def surprise(self, images: Tensor) -> Tensor:
        """-100 log density of images (N, D), a feature."""
        width = images.shape[1]
        parts = [
            _log_densities(_squares(rows, self.centres), self.log_variances, width) for rows in images.split(_ROWS)
        ]
        return torch.cat([part.logsumexp(dim=1) - log(len(self.centres)) for part in parts]) * (-100 / width)


def _fit(centres: Tensor, images: Tensor) -> _Mixture:
    """Variances (K,) of Gaussians around `centres` (K, D) by which images (N, D) are most likely."""
    width = images.shape[1]
    middle = images.mean(dim=0, keepdim=True)
    squares = torch.cat([_squares(images, centres), _SHRUNK * _squares(images, middle)], dim=1)
    s = ((squares.amin(dim=0) + 1e-3) / width).log().requires_grad_()
    optimizer, losses = Adam([s], lr=_RATE), list[float]()
    for _ in range(_PASSES):
        loss, s.grad = _loss_and_slope(squares, s.detach(), width)
        optimizer.step()
        with torch.no_grad():
            s.clamp_(-_BOUND, _BOUND)
        losses.append(loss)
        if len(losses) > _STILL and max(losses[-_STILL:]) - min(losses[-_STILL:]) < _WITHIN:
            break
    return _Mixture(centres, s.detach()[:-1])


def _loss_and_slope(squares: Tensor, s: Tensor, width: int) -> tuple[float, Tensor]:
    """The mean negative log likelihood a feature, and its derivative by each log variance."""
    loss, slope, total = 0.0, torch.zeros_like(s), len(squares) * width
    for rows in squares.split(_ROWS):
        densities = _log_densities(rows, s, width)
        mixed = densities.logsumexp(dim=1, keepdim=True)
        loss -= float((mixed - log(len(s))).sum()) / total
        slope -= ((densities - mixed).exp() * (rows / (2 * s.exp()) - width / 2)).sum(dim=0) / total
    return loss, slope


def _log_densities(squares: Tensor, s: Tensor, width: int) -> Tensor:
    return -squares / (2 * s.exp()) - width / 2 * (s + log(2 * pi))


def _squares(rows: Tensor, centres: Tensor) -> Tensor:
    """Squared distances (N, K), exactly 0 of equal rows."""
    return torch.cdist(rows, centres, compute_mode="donot_use_mm_for_euclid_dist").square()


def _standardise(samples: Tensor, train: Tensor, heldout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    real = torch.cat([train, heldout]).double()
    mean, spread = real.mean(dim=0), real.std(dim=0)
    varies = spread > 1e-9 * spread.max()
    if not bool(varies.any()):
        raise ValueError("the features of all real images are equal: there is no likelihood")
    first, second, third = (((one.double() - mean) / spread)[:, varies] for one in (samples, train, heldout))
    return first, second, third


def _mean_difference(first: Tensor, second: Tensor | None = None) -> Estimate:
    """The mean of the first less that of the second, +- 1.96 standard errors."""
    sides = [first] if second is None else [first, second]
    value = float(first.mean()) - (0.0 if second is None else float(second.mean()))
    half = 1.96 * sqrt(sum(float(one.var()) / len(one) for one in sides))
    return Estimate(value, value - half, value + half, len(first))

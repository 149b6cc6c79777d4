"""Fairness: AUC of two classifiers that read a sensitive attribute off samples, and how often each value comes out.

- `attribute_auc`: the classifier is trained on real images of the reference part, apart from any release; it ranks
  samples by how much they look like attribute 1, and the AUC is of those asked for 1 against those asked for 0. 1/2
  hides the attribute; below 1/2 it shows, the other way round.
- `attribute_auc_trained`: the stronger adversary. The classifier is trained on samples of this very release and on what
  they were asked for, so it finds marks that no real image bears, and learns their sign. Each half of the samples is
  read by the classifier of the other half; the value is the mean of the two AUCs.
- `attribute_balance`: the share of samples that the first classifier calls 1; `attribute_balance_real`: of held-out
  images.
- `attribute_reader_auc`: the first classifier's AUC on held-out real images, so that a blind one cannot pass for
  fairness.

Choices of ours throughout: the classifiers are the small ones of leakbench.models.classifiers, shortly trained; scores
are differences of the two logits; each half of the samples holds a value equally often; intervals (DeLong,
Clopper-Pearson) take the classifiers as given. Chance resemblances of the halves push both their AUCs the same way, so
the interval of their mean is the mean of their intervals, which holds whatever their correlation. A classifier of real
images is not the best reader of a model's outputs, and one of a few hundred samples is not the best of those: an AUC of
1/2 clears a release of these two.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from leakbench.data.image_view import ImagesLike
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.models.classifiers import SmallConvNet, train_classifier
from leakbench.results.record import Metric
from leakbench.runtime.device import RngStream, in_batches
from leakbench.statistics import Estimate, auc, proportion

_STEPS = 300  # of a classifier's training; 600 read a switched release no better, 200 worse (AUC .67, .67, .63)
_ROWS = 256  # images of a compute batch
_FEWEST = 4  # images of either value, so that each half has two


def train_attribute_classifier(images: ImagesLike, attribute: Tensor, stream: RngStream) -> SmallConvNet:
    """A classifier of the attribute, 0 or 1 (N,), trained on images (N, C, H, W) on their device.

    Raises ValueError for any other value.
    """
    return train_classifier(images, attribute.to(images.device), 2, stream, _STEPS)


def evaluate_fairness(
    samples: Tensor,
    asked: Tensor,
    classifier: SmallConvNet,
    heldout: ImagesLike,
    heldout_attribute: Tensor,
    stream: RngStream,
    heldout_groups: np.ndarray | None = None,
) -> MetricSet:
    """The five metrics of samples (N, C, H, W) that were `asked` for attribute 0 or 1 (N,).

    `classifier` is `train_attribute_classifier`'s; `heldout` (M, C, H, W) are real images that it was not trained on,
    `heldout_attribute` (M,) theirs, and `heldout_groups` (M,) whose they are, where that is known; `stream` is for the
    classifiers trained here. An AUC that lacks four images of either value is left out, and the flag
    `attribute-one-sided` says so.
    """
    device = next(classifier.parameters()).device
    samples, asked = samples.to(device), asked.to(device)
    looks, real = logits(classifier, samples), logits(classifier, heldout.to(device))
    metrics = [_share("attribute_balance", looks), _share("attribute_balance_real", real, heldout_groups)]
    both = [_has_both(asked), _has_both(heldout_attribute)]
    if both[0]:
        metrics.append(metric("attribute_auc", _auc(looks, asked)))
        metrics.append(metric("attribute_auc_trained", auc_of_own_samples(samples, asked, stream)))
    if both[1]:
        metrics.append(metric("attribute_reader_auc", _auc(real, heldout_attribute, heldout_groups)))
    return MetricSet(metrics, set() if all(both) else {"attribute-one-sided"})


def logits(classifier: SmallConvNet, images: ImagesLike) -> Tensor:
    """Log odds (N,), on their device, that images (N, C, H, W) have attribute 1 rather than 0, by the classifier."""
    with torch.no_grad():
        return in_batches(lambda batch: classifier(batch).diff(dim=1)[:, 0], images, size=_ROWS)


def auc_of_own_samples(samples: Tensor, asked: Tensor, stream: RngStream) -> Estimate:
    """The AUC of classifiers of samples (N, C, H, W) and what they were `asked` for (N,), each half on the other.

    Raises ValueError with fewer than four samples of either value.
    """
    half = torch.zeros_like(asked)
    for value in (0, 1):
        half[(asked == value).nonzero()[1::2, 0]] = 1
    found = []
    for own in (half == 0, half == 1):
        classifier = train_attribute_classifier(samples[~own], asked[~own], stream)
        found.append(_auc(logits(classifier, samples[own]), asked[own]))
    value, low, high = (sum(getattr(one, side) for one in found) / 2 for side in ("value", "low", "high"))
    return Estimate(value, low, high, min(one.n for one in found))


def _has_both(attribute: Tensor) -> bool:
    return min(int((attribute == value).sum()) for value in (0, 1)) >= _FEWEST


def _auc(scores: Tensor, attribute: Tensor, groups: np.ndarray | None = None) -> Estimate:
    found, one = scores.cpu().double().numpy(), (attribute.cpu() == 1).numpy()
    return auc(found[one], found[~one], groups=None if groups is None else (groups[one], groups[~one]))


def _share(name: str, scores: Tensor, groups: np.ndarray | None = None) -> Metric:
    return metric(name, proportion((scores > 0).cpu().numpy(), groups=groups))

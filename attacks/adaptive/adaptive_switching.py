"""Against attribute switching: the two outputs of one noise, side by side.

Attribute switching (2401.03140) chooses its timestep so that the laws of what is asked for 0 and of what is asked for 1
meet: one sample tells nothing. But both may be asked of the same noise, and down to tau their walks are those of the
unswitched model: what was settled there stands in the outputs for ever. The attacker knows that the attribute is
switched, and neither tau nor the network. It asks the service for such pairs, whose order it knows, learns to tell it,
and is then shown pairs whose order a coin has chosen.

Choices of ours: the small classifier of leakbench.models.classifiers on the stacked pair (N, 2C, H, W), trained on
every pair in both orders, 300 steps. Turning a pair round must turn the answer round, so the score is

    S(a, b) = (l(a, b) - l(b, a)) / 2,   l the difference of the two logits.

It takes an attacker who can fix the noise, as a service that takes a seed allows.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, AttributeAttack, AttributeTrainingSet, Needs
from leakbench.api.views import ApiView
from leakbench.models.classifiers import train_classifier


class AdaptiveSwitching(AttributeAttack):
    """A reader of pairs; asks the service for as many pairs as it is shown."""

    name = "adaptive_switching"
    summary = "tells by the pair of outputs of one noise which was asked for which value (knows attribute switching)"
    adaptive = True
    access = Access.API
    of = "pairs"

    _reader: Any = PrivateAttr(default=None)

    @property
    def needs(self) -> Needs:
        """Releases that switch the attribute."""
        return Needs(parts=("tau",))

    def fit(self, known: AttributeTrainingSet) -> AdaptiveSwitching:
        """A copy with a reader of the attacker's own pairs, each in both orders."""
        pairs = torch.cat([known.images[:], turned(known.images[:])])
        first = torch.cat([known.attribute, 1 - known.attribute])
        fitted = copy.copy(self)
        fitted._reader = train_classifier(pairs, first, 2, known.streams.of("reader", self.name))
        return fitted

    def score(self, view: ApiView, images: Tensor, labels: None) -> Tensor:
        """Half the log odds that the first was asked for 1, minus half those of the pair turned round."""
        straight, round_ = (self._reader(pairs).diff(dim=1)[:, 0] for pairs in (images, turned(images)))
        return (straight - round_) / 2


def turned(pairs: Tensor) -> Tensor:
    """Pairs (N, 2C, H, W) in the other order."""
    first, second = pairs.chunk(2, dim=1)
    return torch.cat([second, first], dim=1)

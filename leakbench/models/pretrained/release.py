"""A pretrained model as a release: a service that guides where its user says so, over a network that does not.

Classifier-free guidance (Ho and Salimans 2022, 2207.12598): the service answers eps(none) + w (eps(label) - eps(none)),
two network calls; the raw network answers eps(label). w = 1 is the same answer, with one call.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leakbench.models.pretrained.prediction import nowhere
from leakbench.models.release import Release


@dataclass(frozen=True)
class PretrainedRelease(Release):
    """A model that somebody else trained, with its guidance scale w."""

    guidance: float = 1.0

    @property
    def eps_is_raw(self) -> bool:
        """Tell whether nothing guides."""
        return self.guidance == 1 or not self.conditions

    def eps(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The guided answer, both parts of it in one call of the network."""
        if self.eps_is_raw or label is None:
            return self.raw_eps(x, t, label)
        both = self.raw_eps(torch.cat([x, x]), torch.cat([t, t]), torch.cat([nowhere(t), label]))
        without, conditional = both.chunk(2)
        return without + self.guidance * (conditional - without)

"""Dropout while training, the oldest measure against over-fitting (Srivastava et al., JMLR 2014).

DDPM (2006.11239) trains its CIFAR-10 model with a rate of 0.1. A fair share `rate` of the inner activations of every
residual block is set to zero in each training step; sampling and attacks meet the whole network.

Choice of ours: it drops where our networks have it, in the MLP's blocks and in the UNet's residual layers, not in
attention or in the embeddings. What is handed out keeps the rate, so a defense that trains this network further trains
it with dropout, too.
"""

from __future__ import annotations

from dataclasses import replace

from leakbench.api import Artefacts, Task, fit_param

from .baseline import Baseline


class Dropout(Baseline):
    """The baseline with dropout."""

    name = "dropout"
    summary = "plain training with dropout"
    role = "defense"

    rate: float = fit_param(0.1, ge=0, lt=1)

    def fit(self, task: Task) -> Artefacts:
        """Train the denoiser with dropout."""
        return super().fit(replace(task, network=task.network.model_copy(update={"dropout": self.rate})))

"""LiRA, offline: how improbably low is the loss, had the model not been trained on the image?

Carlini et al., S&P 2022 (2112.03570), section on the offline attack: the Gaussian without the image alone, one-sided.
Members have a LOW loss, so the tail is the probability that a model without the image has a higher one:

    S(x) = P[Z > phi(x)],  Z ~ N(mu_out(x), s_out);   here -log P[Z < phi(x)] = -log(1 - S): the same ranking

which does not round to 1 where the evidence is strongest. (The official code takes a log-density, which scores a loss
that is too high as it does one that is too low.) phi, the variances, their pooling and the choices of ours are those of
lira_online.py. The shadow models are the same; only the IN halves are not looked at, except for the mean of an image
that lies in all of them.
"""

import torch
from torch import Tensor

from ._lira import LiRA


class LiRAOffline(LiRA):
    """One-sided tail; `draws` network calls an image, and as many of each shadow model."""

    name = "lira_offline"
    summary = "how improbably low the loss is for models without the image (LiRA, offline)"

    def ratio(self, z_in: Tensor, std_in: Tensor, z_out: Tensor, std_out: Tensor) -> Tensor:
        """Minus the log of the probability of a lower loss."""
        return -torch.special.log_ndtr(z_out)

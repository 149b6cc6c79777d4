"""PIAN: PIA with the network's answer at t = 0 scaled to the size of the noise that the network was trained on.

Kong et al., ICLR 2024 (2305.18355), eq. 10. PIA's e_0 is replaced by

    e_0 / mean|e_0| * sqrt(2 / pi)

before it serves as the noise and is compared: a standard normal has mean |z| = sqrt(2 / pi), so that noise of any size
gets the standard deviation 1. The paper prints the inverse, sqrt(pi / 2), under which it would be 1.57; the authors'
code has what is here. The mean is over the pixels of one image. t and p as for PIA.

Choice of ours: an answer that is zero in every pixel stays zero.
"""

from math import pi, sqrt

import torch
from torch import Tensor

from leakbench.api.views import DenoiserView

from .pia import PIA


class PIAN(PIA):
    """Proximal initialisation, normalised; 2 network calls an image, the first of them PIA's."""

    name = "pian"
    summary = "proximal initialisation with normalised noise (PIAN)"

    def start(self, view: DenoiserView, images: Tensor) -> Tensor:
        """e_0, scaled, (N, C, H, W)."""
        e0 = view.eps(images, 0)
        return view.memoize("pian", e0, lambda: normalised(e0))


def normalised(e0: Tensor) -> Tensor:
    """Each image of (N, C, H, W) scaled so that its mean |value| is that of a standard normal."""
    size = e0.abs().mean(dim=(1, 2, 3), keepdim=True)
    return e0 * (sqrt(2 / pi) / torch.where(size > 0, size, 1.0))

"""SimA: on a clean image, the noise prediction is smaller the nearer training images are.

Rao et al. 2025 (2509.25003). Score, on the image itself, without noise:

    S(x) = -|| eps_theta(x_0, t) ||_p

p = 4 as in the paper; the sum of |.|^p without the root, which ranks alike.

Choices of ours: the paper sweeps t from 10 to 300 in steps of 10 and reports the best after the fact. Here t is fixed
in advance at 100, where `loss` and SecMI stand; with `tune` it is the best of that sweep by AUC on the calibration
images (the lowest of several), and their labels are consumed.
"""

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access, Calibration, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView
from leakbench.statistics import auc

from ._shared import power_sum

SWEEP = range(10, 301, 10)


class SimA(MembershipAttack):
    """Norm of the answer to the clean image; 1 network call an image (30 for each calibration image with `tune`)."""

    name = "sima"
    summary = "size of the noise predicted for the clean image (SimA)"
    access = Access.DENOISER

    t: int = release_param(100, ge=0, lt=1000)
    p: float = release_param(4.0, ge=1)
    tune: bool = release_param(False)

    @property
    def learns(self) -> bool:
        """Tell whether t is chosen on calibration images."""
        return self.tune

    @property
    def needs(self) -> Needs:
        """The timestep, or those of the sweep."""
        return Needs(latest=max(SWEEP) if self.tune else self.t)

    def fit(self, calibration: Calibration) -> "SimA":
        """A copy with the best t of the sweep; itself without `tune`."""
        if not self.tune:
            return self
        sizes = calibration.ask(self._sweep).double().cpu().numpy()
        member = np.asarray(calibration.is_member, dtype=bool)
        strength = [auc(-column[member], -column[~member]).value for column in sizes.T]
        return self.model_copy(update={"t": SWEEP[int(np.argmax(strength))]})

    def _sweep(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        return torch.stack([power_sum(view.eps(images, t), self.p) for t in SWEEP], dim=1)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the sum of |answer|^p."""
        return -power_sum(view.eps(images, self.t), self.p)

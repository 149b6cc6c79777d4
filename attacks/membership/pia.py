"""PIA: the network's own answer at t = 0 serves as the noise, and members reproduce it.

Kong et al., ICLR 2024 (2305.18355), eq. 9:

    e_0 = eps_theta(x_0, 0);   S(x) = -|| e_0 - eps_theta(sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) e_0, t) ||_p

p = 4, t = 200 (the paper's for DDPM). We take the sum of |.|^p without the root, as the authors' code does: same
ranking.

frequencies: "low" or "band" filter the difference (FreMIA, FCRE: see _frequencies.py).
"""

from torch import Tensor

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView

from ._frequencies import Frequencies, filtered
from ._shared import power_sum


class PIA(MembershipAttack):
    """Proximal initialisation attack; 2 network calls an image."""

    name = "pia"
    summary = "proximal initialisation: the answer at t = 0 is the noise (PIA)"
    access = Access.DENOISER

    t: int = release_param(200, ge=0, lt=1000)
    p: float = release_param(4.0, ge=1)
    frequencies: Frequencies = release_param("all")

    @property
    def needs(self) -> Needs:
        """The timestep."""
        return Needs(latest=self.t)

    def start(self, view: DenoiserView, images: Tensor) -> Tensor:
        """e_0, (N, C, H, W)."""
        return view.eps(images, 0)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the sum of |difference|^p."""
        e0 = self.start(view, images)
        difference = e0 - view.eps(view.noise_to(self.t, e0), self.t)
        return -power_sum(filtered(difference, self.frequencies), self.p)

"""SecMI, the statistic: members survive a deterministic step there and back.

Duan et al., ICML 2023 (2302.01316), eq. 10. Invert the image by DDIM with stride k, then step once up and once down:

    S(x) = -|| ddim(ddim(x_s, s -> s + k), s + k -> s) - x_s ||^2,   sum over pixels, no root

Like the authors' code, which stops the inversion one stride before t_sec and compares there (t = 100, k = 10: inverted
to 10, 20, .., 90 and compared at 90 after 90 -> 100 -> 90: 9 + 2 = 11 network calls).
On small over-fitted networks the statistic can order the wrong way round; its sign is never flipped.

frequencies: "low" or "band" filter the error (FreMIA, FCRE: see _frequencies.py); FreMIA's own SecMI is t = k = 100.
"""

from pydantic import ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView

from ._frequencies import Frequencies, filtered


class SecMI(MembershipAttack):
    """t-error of Duan et al.; t_sec / k + 1 network calls an image."""

    name = "secmi"
    summary = "error of one DDIM step there and back (SecMI statistic)"
    access = Access.DENOISER

    t: int = release_param(100, ge=2, lt=1000)
    k: int = release_param(10, ge=1, validate_default=True)
    frequencies: Frequencies = release_param("all")

    @field_validator("k")
    @classmethod
    def _divides(cls, k: int, info: ValidationInfo) -> int:
        if info.data.get("t", k) % k:  # the inversion would not land where the comparison is made
            raise PydanticCustomError("divisor", "Input should be a divisor of t = {t}", {"t": info.data["t"]})
        return k

    @property
    def needs(self) -> Needs:
        """The timestep."""
        return Needs(latest=self.t)

    def error(self, view: DenoiserView, images: Tensor) -> Tensor:
        """What the step to t and back adds to the images inverted to t - k, filtered, (N, C, H, W)."""
        x, last = images, self.t - self.k
        for s in range(0, last, self.k):
            x = view.ddim(x, s, s + self.k)
        there = view.ddim(x, last, self.t)
        return filtered(view.ddim(there, self.t, last) - x, self.frequencies)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the squared error at t - k."""
        return -self.error(view, images).square().flatten(1).sum(dim=1)

"""SecMI, the statistic: members survive a deterministic step there and back.

Duan et al., ICML 2023 (2302.01316), eq. 10. Invert the image by DDIM with stride k, then step once up and once down:

    S(x) = -|| ddim(ddim(x_s, s -> s + k), s + k -> s) - x_s ||^2,   sum over pixels, no root

Like the authors' code, which stops the inversion one stride before t_sec and compares there (t = 100, k = 10: inverted
to 10, 20, .., 90 and compared at 90 after 90 -> 100 -> 90: 9 + 2 = 11 network calls).
On small over-fitted networks the statistic can order the wrong way round; its sign is never flipped.
"""

from pydantic import ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView

from ._shared import squared_error


class SecMI(MembershipAttack):
    """t-error of Duan et al.; t_sec / k + 1 network calls an image."""

    name = "secmi"
    summary = "error of one DDIM step there and back (SecMI statistic)"
    access = Access.DENOISER

    t: int = release_param(100, ge=2, lt=1000)
    k: int = release_param(10, ge=1, validate_default=True)

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

    def there_and_back(self, view: DenoiserView, images: Tensor) -> tuple[Tensor, Tensor]:
        """The images inverted to t - k, and what the step to t and back makes of them, both (N, C, H, W)."""
        x, last = images, self.t - self.k
        for s in range(0, last, self.k):
            x = view.ddim(x, s, s + self.k)
        there = view.ddim(x, last, self.t)
        return x, view.ddim(there, self.t, last)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the squared error at t - k."""
        x, back = self.there_and_back(view, images)
        return -squared_error(back, x)

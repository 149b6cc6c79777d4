"""Loss, PIA, SimA and SecMI at several timesteps in one score, so that no single timestep decides.

Which timestep tells members from others depends on the network and on how long it was trained: a loss that finds little
at t = 100 may find nearly all at t = 50, and SecMI may order the wrong way round at one and the right way at another. A
paper sweeps t and reports the best, which an attacker who has no reported labels cannot. Here every statistic is taken
at every t, and a logistic regression on calibration images says what each is worth, and its sign.

Calls are few, because they are the same: PIA's first answer serves all its timesteps, and the states that SecMI passes
on the way to its largest t are those where the smaller ones compare.

Choices of ours: all of it but the four statistics (loss.py, pia.py, sima.py, secmi.py, each as it stands there). The
regression was chosen among a sum with signs from calibration, the largest of the standardised statistics, and each
statistic as a test of its own, by what they find at an equal family-wise level (docs/attacks.md, "What several
timesteps cost and gain").
"""

import copy

from pydantic import PrivateAttr, field_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from leakbench.api import Access, Calibration, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView

from ._regression import Regression, log_errors
from ._shared import losses, power_sum, squared_error

_STRIDE = 10  # of SecMI
_POWER = 4.0  # of the norms of PIA and SimA


class TimestepEnsemble(MembershipAttack):
    """Logistic regression on four statistics at each timestep; 66 network calls an image, 5 of them the same as
    another: of n timesteps up to T the loss makes n for each draw, PIA n + 1, SimA n and SecMI T / 10 + n."""

    name = "timestep_ensemble"
    summary = "loss, PIA, SimA and SecMI at several timesteps, weighed by calibration labels"
    access = Access.DENOISER

    t: tuple[int, ...] = release_param((20, 50, 100, 200, 300))
    draws: int = release_param(4, ge=1)

    _regression: Regression | None = PrivateAttr(default=None)

    @field_validator("t")
    @classmethod
    def _on_the_path(cls, t: tuple[int, ...]) -> tuple[int, ...]:
        if not t or any(one % _STRIDE or not 0 < one < 1000 for one in t):
            raise PydanticCustomError(
                "timesteps", "Input should be a list of timesteps from 10 to 990, multiples of 10: SecMI's stride"
            )
        return t

    @property
    def needs(self) -> Needs:
        """The timesteps."""
        return Needs(latest=max(self.t))

    def fit(self, calibration: Calibration) -> "TimestepEnsemble":
        """A copy with a regression of calibration membership on the statistics."""
        fitted = copy.copy(self)
        fitted._regression = Regression.fit(calibration.ask(self._features), calibration.is_member)
        return fitted

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Log odds of membership, float64."""
        assert self._regression is not None
        return self._regression.log_odds(self._features(view, images, labels))

    def _features(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Logarithms of the four statistics at each timestep, (N, 4 timesteps), float64."""
        start, errors = view.eps(images, 0), self._secmi(view, images)
        for t in self.t:
            again = view.eps(view.noise_to(t, start), t)
            errors += [
                losses(view, t, self.draws),
                power_sum(start - again, _POWER),
                power_sum(view.eps(images, t), _POWER),
            ]
        return log_errors(errors)

    def _secmi(self, view: DenoiserView, images: Tensor) -> list[Tensor]:
        """SecMI's error (N,) at each timestep, in order, all on one way up."""
        errors, x = [], images
        for s in range(0, max(self.t), _STRIDE):
            there = view.ddim(x, s, s + _STRIDE)
            if s + _STRIDE in self.t:
                errors.append(squared_error(view.ddim(there, s + _STRIDE, s), x))
            x = there
        return errors

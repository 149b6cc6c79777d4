"""Cost of a defense, for the time estimate and for --budget."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Cost in network evaluations: one image forward is 1, forward and backward 3.

    training: evaluations of fit(), about. relative: seconds of its training over those of as many evaluations of plain
    training. extra_per_step: evaluations that it adds to each call of eps(). budget_params: parameters that --budget
    scales down, the same whatever their values; those that the defense does not have are passed over.
    """

    training: float = 0
    relative: float = 1.0
    extra_per_step: float = 0.0
    budget_params: tuple[str, ...] = ("steps",)

    @property
    def plain_training(self) -> float:
        """Evaluations of plain training that take as long as fit()."""
        return self.training * self.relative

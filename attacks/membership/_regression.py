"""Features of an image joined into one score by a logistic regression on calibration images.

Features are standardised by the mean and deviation of the images that the regression learns from; scikit-learn's
logistic regression as it comes (L2, C = 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Regression:
    """A fitted regression on F features: mean, deviation and weights (F,), float64, and the intercept."""

    mean: Tensor
    deviation: Tensor
    weights: Tensor
    intercept: float

    @classmethod
    def fit(cls, features: Tensor, is_member: np.ndarray) -> Regression:
        """Fit membership (N,), bool, on features (N, F). A feature that is the same for all images has no say."""
        from sklearn.linear_model import LogisticRegression

        features = features.double()
        mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
        deviation = torch.where(deviation > 0, deviation, 1.0)
        model = LogisticRegression(max_iter=1000).fit(((features - mean) / deviation).cpu().numpy(), is_member)
        return cls(mean, deviation, features.new_tensor(model.coef_[0]), float(model.intercept_[0]))

    def log_odds(self, features: Tensor) -> Tensor:
        """Log odds of membership (N,), float64, of images with features (N, F)."""
        return ((features.double() - self.mean) / self.deviation) @ self.weights + self.intercept


def log_errors(errors: Sequence[Tensor]) -> Tensor:
    """Logarithms (N, F), float64, of F errors (N,) each: they are positive and span decades."""
    return torch.stack([error.double().clamp_min(1e-30).log() for error in errors], dim=1)

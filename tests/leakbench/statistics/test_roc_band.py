"""The band around a ROC curve holds the true curve, at a fixed false-positive rate, as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, norm

from leakbench.statistics import roc_band, roc_curve


@pytest.mark.parametrize(("shift", "n"), [(0.0, 60), (1.0, 60), (2.5, 300)])
def test_the_true_rate_lies_in_the_band_in_95_of_100_runs(shift, n):
    """Normal scores: TPR = Phi(Phi^-1(FPR) + shift), at FPRs of 1 % to 50 %. 200 runs: 183 or more, with 99.9 %."""
    targets = np.array([0.01, 0.1, 0.5])
    true, draw = norm.cdf(norm.ppf(targets) + shift), np.random.default_rng(int(10 * shift) + n)
    held = np.zeros(3)
    for _ in range(200):
        band = roc_band(draw.normal(shift, 1, n), draw.normal(0, 1, n))
        at = np.searchsorted(band.fpr, targets, side="right") - 1
        after = np.minimum(at + 1, band.fpr.size - 1)
        held += (band.low[at] <= true) & (true <= band.high[after])
    assert (held >= 183).all()


def test_its_rectangles_are_clopper_and_pearsons():
    """Of two apart sides of 20: nobody is passed over, and at FPR 0 the TPR is 1."""
    band = roc_band(np.arange(20) + 100.0, np.arange(20.0))
    tail = (1 - 0.95**0.5) / 2
    assert band.high[0] == 1.0 and band.low[-1] == pytest.approx(beta.ppf(tail, 20, 1))
    assert (band.fpr == roc_curve(np.arange(20) + 100.0, np.arange(20.0)).fpr).all()
    assert (np.diff(band.low) >= 0).all() and (np.diff(band.high) >= 0).all()

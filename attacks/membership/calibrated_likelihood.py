"""`likelihood` calibrated by the base that the target was fine-tuned from: see _calibrated.py.

The difference is the logarithm of the likelihood ratio of the two models.
"""

from ._calibrated import Calibrated
from .likelihood import Likelihood


class CalibratedLikelihood(Calibrated, Likelihood):
    """`likelihood`, and the same of the base."""

    name = "calibrated_likelihood"
    summary = "log-likelihood under the fine-tune less that under the base model"

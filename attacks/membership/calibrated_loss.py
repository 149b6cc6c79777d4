"""`loss` calibrated by the base that the target was fine-tuned from: see _calibrated.py."""

from ._calibrated import Calibrated
from .loss import Loss


class CalibratedLoss(Calibrated, Loss):
    """`loss`, and the same of the base."""

    name = "calibrated_loss"
    summary = "loss under the base model less that under the fine-tune"

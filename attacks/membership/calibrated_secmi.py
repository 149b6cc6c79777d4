"""`secmi` calibrated by the base that the target was fine-tuned from: see _calibrated.py."""

from ._calibrated import Calibrated
from .secmi import SecMI


class CalibratedSecMI(Calibrated, SecMI):
    """`secmi`, and the same of the base."""

    name = "calibrated_secmi"
    summary = "SecMI under the fine-tune less that under the base model"

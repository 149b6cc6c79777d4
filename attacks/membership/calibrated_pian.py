"""`pian` calibrated by the base that the target was fine-tuned from: see _calibrated.py."""

from ._calibrated import Calibrated
from .pian import PIAN


class CalibratedPIAN(Calibrated, PIAN):
    """`pian`, and the same of the base."""

    name = "calibrated_pian"
    summary = "PIAN under the fine-tune less that under the base model"

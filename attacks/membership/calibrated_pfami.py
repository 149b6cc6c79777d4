"""`pfami` calibrated by the base that the target was fine-tuned from: see _calibrated.py.

The paper calibrates so as well, by a model that was trained on other images.
"""

from ._calibrated import Calibrated
from .pfami import PFAMI


class CalibratedPFAMI(Calibrated, PFAMI):
    """`pfami`, and the same of the base."""

    name = "calibrated_pfami"
    summary = "PFAMI under the fine-tune less that under the base model"

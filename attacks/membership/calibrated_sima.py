"""`sima` calibrated by the base that the target was fine-tuned from: see _calibrated.py.

With `tune`, the timestep is that at which the uncalibrated score is strongest on calibration images.
"""

from ._calibrated import Calibrated
from .sima import SimA


class CalibratedSimA(Calibrated, SimA):
    """`sima`, and the same of the base."""

    name = "calibrated_sima"
    summary = "SimA under the fine-tune less that under the base model"

"""`pia` calibrated by the base that the target was fine-tuned from: see _calibrated.py."""

from ._calibrated import Calibrated
from .pia import PIA


class CalibratedPIA(Calibrated, PIA):
    """`pia`, and the same of the base."""

    name = "calibrated_pia"
    summary = "PIA under the fine-tune less that under the base model"

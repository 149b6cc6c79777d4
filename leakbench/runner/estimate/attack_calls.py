"""Network calls of membership attacks by what they are made for, and how many that is of a split's images.

Every question is put in compute batches of fixed sizes: one calibration image costs as much as the smallest of them.
Counted by leakbench.runner.estimate.dry_run, kept for the built-in attacks in attack_table.json
(leakbench.suite.attack_table).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from leakbench.api.membership import CALIBRATION_FOLDS
from leakbench.runtime.batch_sizes import filled_rows

_SCORED = ("member", "nonmember", "calibration_in", "calibration_out")


@dataclass(frozen=True)
class AttackCalls:
    """Calls of one attack: of an image that it scores, and in a fit of a calibration and of a public image.

    out_of_fold: it is fitted once more for each fold of the calibration images. seconds: of one fit, beside its calls.
    """

    scoring: float = 0.0
    calibration: float = 0.0
    public: float = 0.0
    out_of_fold: bool = False
    seconds: float = field(default=0.0, compare=False)

    @property
    def fitting_seconds(self) -> float:
        """Seconds of all fits beside their calls."""
        return self.seconds * (1 + CALIBRATION_FOLDS * self.out_of_fold)


def count_fitting(calls: AttackCalls, parts: Mapping[str, int], batch: int) -> float:
    """Calls of all fits of an attack, and of the scores that they are tried by. parts: images of each part."""
    known = parts["calibration_in"] + parts["calibration_out"]
    public = calls.public * filled_rows(parts["reference"], batch)
    total = calls.calibration * filled_rows(known, batch) + public
    if not calls.out_of_fold:
        return total
    left = math.ceil(known / CALIBRATION_FOLDS)
    fold = calls.calibration * filled_rows(known - left, batch) + public + calls.scoring * filled_rows(left, batch)
    return total + CALIBRATION_FOLDS * fold


def count_scored(parts: Mapping[str, int], batch: int) -> int:
    """Images that attacks score, in whole compute batches: those of the split, and after them `generated` ones and
    `others` that were held back, if the suite has such."""
    apart = sum(filled_rows(parts.get(name, 0), batch) for name in ("generated", "others"))
    return filled_rows(sum(parts[name] for name in _SCORED), batch) + apart

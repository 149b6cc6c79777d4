"""Scores in; ROC points, intervals and verdicts out.

Knows no attack and no defense, and imports neither torch nor, until a number is asked for, scipy. Everywhere: a score
is a float, higher = more likely a member; `member` and `nonmember` are 1-D and finite (pass raw scores through
`finite` first); a decision is `score >= threshold`; intervals are 95 % unless a level is given.
"""

from .auc import PairedDifference, auc, delong_pair
from .balanced import BalancedAccuracy, balanced_accuracy
from .estimate import Estimate
from .health import finite, flags
from .proportions import clopper_pearson, difference
from .roc import OperatingPoint, Roc, roc_curve
from .seeds import Summary, over_seeds
from .select import strongest
from .tpr import TprAtFpr, few_negatives, tpr_at_fpr, tpr_at_threshold
from .verdict import Verdict, blind_invalid, family_wise, smallest_detectable_auc, verdict

__all__ = [
    "BalancedAccuracy",
    "Estimate",
    "OperatingPoint",
    "PairedDifference",
    "Roc",
    "Summary",
    "TprAtFpr",
    "Verdict",
    "auc",
    "balanced_accuracy",
    "blind_invalid",
    "clopper_pearson",
    "delong_pair",
    "difference",
    "family_wise",
    "few_negatives",
    "finite",
    "flags",
    "over_seeds",
    "roc_curve",
    "smallest_detectable_auc",
    "strongest",
    "tpr_at_fpr",
    "tpr_at_threshold",
    "verdict",
]

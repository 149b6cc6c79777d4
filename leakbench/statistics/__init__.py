"""Scores in; ROC points, intervals, epsilon bounds and verdicts out.

Knows no attack and no defense, and imports neither torch nor, until a number is asked for, scipy. Everywhere: a score
is a float, higher = more likely a member; `member` and `nonmember` are 1-D and finite (pass raw scores through
`finite` first); a decision is `score >= threshold`; intervals are 95 % unless a level is given.
"""

from .auc import auc, auc_p_value, delong_pair
from .balanced import BalancedAccuracy, balanced_accuracy
from .by_class import ByClass, ClassLeak, by_class
from .contrast import Contrast, contrast
from .epsilon_bayes import epsilon_bayes
from .epsilon_bound import EpsilonBound, either_way
from .epsilon_f_dp import GaussianCurves, StepCurves, epsilon_one_run_f_dp
from .epsilon_one_run import epsilon_one_run, guesses
from .epsilon_rates import epsilon_clopper_pearson, epsilon_gaussian, gaussian_epsilon
from .estimate import Estimate, ExactTest
from .exact import ExactFamily, exact_detectable_auc, exact_p_value, least_p_value, permutation_p_value
from .exposed import Exposed, exposed
from .family import Family
from .group_z import group_z
from .groups import Groups, effective_number, fewer_groups, has_few_groups, mean_scores, share_groups
from .health import calibration_leaks, finite, flags, oriented, weaker_with_more_access
from .multiple import holm
from .paired import PairedDifference, independent_difference, paired_by_shares, paired_over_seeds
from .paired_rates import proportion_pair, tpr_pair
from .power import auc_half_width, auc_images, auc_images_to_see, effective_images, smallest_detectable_auc
from .power_tpr import ranked_images, smallest_detectable_tpr, tpr_half_width, tpr_images, tpr_images_to_see
from .proportions import clopper_pearson, difference, proportion, proportion_difference
from .roc import OperatingPoint, Roc, roc_curve
from .roc_band import RocBand, roc_band
from .sample_size import Attainable, GroupSizes, RequiredImages, list_attainable, list_required_images
from .seeds import Summary, over_seeds
from .sets import SetInference, SetSize, set_inference
from .share import ShareEstimate, estimate_share
from .tpr import TprAtFpr, few_negatives, tpr_at_fpr, tpr_at_threshold
from .trainings import Shrunk, shrink_variances, trainings_difference
from .verdict import EXACT_LEVEL, Verdict, blind_invalid, family_wise, tpr_verdict, verdict

__all__ = [
    "EXACT_LEVEL",
    "Attainable",
    "BalancedAccuracy",
    "ByClass",
    "ClassLeak",
    "Contrast",
    "EpsilonBound",
    "Estimate",
    "ExactFamily",
    "ExactTest",
    "Exposed",
    "Family",
    "GaussianCurves",
    "GroupSizes",
    "Groups",
    "OperatingPoint",
    "PairedDifference",
    "RequiredImages",
    "Roc",
    "RocBand",
    "SetInference",
    "SetSize",
    "ShareEstimate",
    "Shrunk",
    "StepCurves",
    "Summary",
    "TprAtFpr",
    "Verdict",
    "auc",
    "auc_half_width",
    "auc_images",
    "auc_images_to_see",
    "auc_p_value",
    "balanced_accuracy",
    "blind_invalid",
    "by_class",
    "calibration_leaks",
    "clopper_pearson",
    "contrast",
    "delong_pair",
    "difference",
    "effective_images",
    "effective_number",
    "either_way",
    "epsilon_bayes",
    "epsilon_clopper_pearson",
    "epsilon_gaussian",
    "epsilon_one_run",
    "epsilon_one_run_f_dp",
    "estimate_share",
    "exact_detectable_auc",
    "exact_p_value",
    "exposed",
    "family_wise",
    "few_negatives",
    "fewer_groups",
    "finite",
    "flags",
    "gaussian_epsilon",
    "group_z",
    "guesses",
    "has_few_groups",
    "holm",
    "independent_difference",
    "least_p_value",
    "list_attainable",
    "list_required_images",
    "mean_scores",
    "oriented",
    "over_seeds",
    "paired_by_shares",
    "paired_over_seeds",
    "permutation_p_value",
    "proportion",
    "proportion_difference",
    "proportion_pair",
    "ranked_images",
    "roc_band",
    "roc_curve",
    "set_inference",
    "share_groups",
    "shrink_variances",
    "smallest_detectable_auc",
    "smallest_detectable_tpr",
    "tpr_at_fpr",
    "tpr_at_threshold",
    "tpr_half_width",
    "tpr_images",
    "tpr_images_to_see",
    "tpr_pair",
    "tpr_verdict",
    "trainings_difference",
    "verdict",
    "weaker_with_more_access",
]

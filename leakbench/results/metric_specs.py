"""The metrics: one row each, with title, unit, range and direction. A new metric is one row here.

The row is what tables and `results.csv`, `summary.csv` show beside the numbers, and to what intervals over seeds are
cut. A metric without a row is still reported, under its own name and without range or direction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from math import inf
from typing import Literal

Unit = Literal["", "share", "distance", "images", "groups", "steps", "calls", "nats"]
Better = Literal["", "higher", "lower", "closest to 0.5", "closest to 0"]

HELDOUT_DISTANCE = "frechet_heldout"  # the quality axis of the trade-off
DISTANCE_FLOOR = "frechet_floor"
TRAINING_DISTANCE = "frechet"
INFINITE_DISTANCE = "frechet_heldout_infinite"
COPY_EXCESS = "copy_rate_excess"  # the copying axis

_ORIENTED = "oriented_"  # the metric with the sign that the calibration images asked for
_FEATURES = "@features="  # the metric in other features than the suite's


@dataclass(frozen=True)
class MetricSpec:
    """A row of the table.

    name: what records call it; a part in braces varies ("tpr@fpr={rate}"), and the title may repeat it.
    low, high: the range of its values. better: which values speak for the defense; "" where neither does.
    version: raised when the same name begins to mean another number.
    column: title of its column in the trade-off, for a quality metric that has one; "" for all others.
    spread: its low and high are the central 95 % of draws, between which their mean, the value, need not lie.
    """

    name: str
    title: str
    unit: Unit = ""
    low: float = -inf
    high: float = inf
    better: Better = ""
    version: int = 1
    column: str = ""
    spread: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of its values."""
        return self.low, self.high

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches the names that the row is about; the varying parts are named groups."""
        return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(self.name)))


def _share(name: str, title: str, better: Better = "", column: str = "") -> MetricSpec:
    return MetricSpec(name, title, "share", 0.0, 1.0, better, column=column)


def _auc(name: str, title: str, better: Better = "closest to 0.5") -> MetricSpec:
    return MetricSpec(name, title, "", 0.0, 1.0, better)


def _excess(name: str, title: str, better: Better, unit: Unit = "share", column: str = "") -> MetricSpec:
    return MetricSpec(name, title, unit, -1.0, 1.0, better, column=column)


def _positive(name: str, title: str, unit: Unit = "", better: Better = "lower", column: str = "") -> MetricSpec:
    return MetricSpec(name, title, unit, 0.0, inf, better, column=column)


METRICS = (  # of several rows that match a name the first counts
    # quality
    _positive(HELDOUT_DISTANCE, "Frechet distance to held-out images", "distance", column="{distance}, held-out"),
    _positive(DISTANCE_FLOOR, "Frechet distance of real to real images", "distance", "", "{distance}, its floor"),
    _positive(TRAINING_DISTANCE, "Frechet distance to training images", "distance", ""),  # copies are the nearest
    MetricSpec(
        INFINITE_DISTANCE,
        "Frechet distance to held-out images, extrapolated to infinitely many",
        "distance",
        better="lower",
        column="held-out distance of infinitely many",
    ),
    _positive("frechet_retained", "Frechet distance on the labels to keep", "distance"),
    MetricSpec("kid", "KID to held-out images", "distance", better="lower"),
    _share("precision", "precision: samples that look real", "higher"),
    _share("recall", "recall: real images that samples cover", "higher"),
    MetricSpec("fld", "FLD: how unlikely held-out images are by the samples", better="lower"),
    MetricSpec("fld_gap_excess", "generalisation gap of FLD beyond its null", better="closest to 0"),
    MetricSpec("fld_gap_null", "generalisation gap of FLD, training and held-out images swapped"),
    MetricSpec("fld_gap", "generalisation gap of FLD", better="closest to 0"),
    _excess("authenticity_excess", "authentic samples beyond the null", "closest to 0"),
    _share("authenticity_null", "authentic samples, held-out images in the place of training images"),
    _share("authenticity", "authentic samples: no closer to training images than these to one another", "higher"),
    MetricSpec("c_t", "C_T: samples against held-out images, by distance to training images", better="closest to 0"),
    MetricSpec("vendi_real", "Vendi score of as many held-out images", "images", 1.0),
    MetricSpec("vendi", "Vendi score: different images in effect", "images", 1.0, better="higher"),
    _share("utility_real", "accuracy on real images of a classifier trained on training images"),
    _share("utility", "accuracy on real images of a classifier trained on samples", "higher", "utility"),
    _positive("lpips_diversity", "LPIPS between samples", "distance", "higher"),
    _positive("lpips_nearest", "LPIPS to the nearest training image", "distance", "higher"),
    _positive("network_evaluations", "network evaluations of the training", "calls"),
    # membership
    _auc("auc", "AUC of members against nonmembers"),
    _auc("calibration_auc", "AUC on the calibration images"),
    _share("tpr@fpr={rate}", "TPR at {rate} FPR", "lower"),
    _share("balanced_accuracy", "balanced accuracy at the calibrated threshold", "closest to 0.5"),
    _auc("generated_auc", "AUC of members against the model's own samples", ""),
    _auc("generated_vs_nonmembers_auc", "AUC of the model's own samples against nonmembers", ""),
    _share("generated_rate@fpr={rate}", "own samples that pass for members at {rate} FPR"),
    _auc("forget_auc", "AUC of images to forget against never-seen ones"),
    MetricSpec("set_p_value@images={size}", "p value for a set of {size} members", "", 0.0, 1.0, "higher", spread=True),
    MetricSpec("set_null_p_value@images={size}", "p value for a set of {size} nonmembers", "", 0.0, 1.0, spread=True),
    MetricSpec("set_p_value@groups={size}", "p value, {size} groups of members", "", 0.0, 1.0, "higher", spread=True),
    MetricSpec("set_null_p_value@groups={size}", "p value, {size} groups of nonmembers", "", 0.0, 1.0, spread=True),
    _share("share_estimate@share={share}", "estimated share of members, in truth {share}"),
    # memorisation
    _auc("prompt_auc", "AUC of prompts against null prompts"),
    _share("prompts_flagged", "prompts flagged as memorised", "lower"),
    _share("prompts_flagged_null", "null prompts flagged as memorised"),
    # replication
    _excess(COPY_EXCESS, "copies beyond the null", "lower", column="copies beyond null, {features}"),
    _share("copy_rate", "copies", "lower"),
    _share("copy_rate@transform={kind}", "copies, transform: {kind}", "lower"),
    _share("copy_rate_null", "real images that pass for copies"),
    _excess("copy_rate_published_excess", "copies beyond the null, published threshold", "lower"),
    _share("copy_rate_published", "copies, published threshold", "lower"),
    _share("copy_rate_published_null", "real images that pass for copies, published threshold"),
    _positive("unique_copies@samples={size}", "training images copied by {size} samples", "images"),
    _positive("unique_copies", "training images copied", "images"),
    _positive("unique_copies_published", "training images copied, published threshold", "images"),
    _positive("copied_groups", "people (groups) copied", "groups"),
    _positive("copied_groups_published", "people (groups) copied, published threshold", "groups"),
    _share("most_copied_share", "samples that copy the image copied most", "lower"),
    _share("grouped_rate", "samples that repeat one another", "lower"),
    _share("grouped_rate_null", "real images that repeat one another"),
    _share("ams_{band}_ordinary", "ordinary samples in the {band} band of similarity"),
    _share("ams_{band}_null", "real images in the {band} band of similarity"),
    _share("ams_{band}", "guided images in the {band} band of similarity", "lower"),
    _share("ums_{band}_ordinary", "training images an ordinary sample finds in the {band} band"),
    _share("ums_{band}", "training images a guided image finds in the {band} band", "lower"),
    # attributes
    _excess("attribute_auc_excess", "AUC of the attribute beyond the null", "closest to 0", ""),
    _auc("attribute_auc_null", "AUC of the attribute on the null", ""),
    _auc("attribute_auc_trained", "AUC of the attribute, classifier of samples"),
    _auc("attribute_auc", "AUC of the attribute"),
    _auc("attribute_reader_auc", "AUC of the attribute on real images", ""),
    _share("attribute_balance_real", "real images with the attribute"),
    _share("attribute_balance_asked", "samples asked for with the attribute"),
    _share("attribute_balance", "samples with the attribute"),
    # unlearning
    _share("forget_probability_real", "probability of the label to forget, real images"),
    _share("forget_probability", "probability of the label to forget", "lower"),
    _excess("{statistic}_auc_excess", "AUC by {statistic} beyond the retrained model", "closest to 0", ""),
    _auc("{statistic}_vs_retained_auc_retrained", "AUC by {statistic} against retained images, retrained model", ""),
    _auc("{statistic}_vs_retained_auc", "AUC by {statistic} against retained images"),
    _auc("{statistic}_auc_retrained", "AUC by {statistic}, retrained model", ""),
    _excess("{statistic}_excess", "probability by {statistic} beyond the retrained model", "lower"),
    _share("{statistic}_probability_retrained", "probability at the end by {statistic}, retrained model"),
    _share("{statistic}_probability", "probability at the end by {statistic}", "lower"),
    _positive("{statistic}_steps_retrained", "steps until it is back by {statistic}, retrained model", "steps", ""),
    _positive("{statistic}_steps", "steps until it is back by {statistic}", "steps", "higher"),
    _positive("{statistic}_distance_ratio_retrained", "distance ratio by {statistic}, retrained model", "", ""),
    _positive("{statistic}_distance_ratio", "distance ratio by {statistic}", "", ""),
    # auditing
    _auc("canary_auc", "AUC of included against left-out canaries"),
    _positive("epsilon_lower_f_dp", "lower bound of epsilon, if the trade-off curve is DP-SGD's", "nats"),
    _positive("epsilon_ceiling_f_dp", "largest bound so many guesses could show, by that curve", "nats", ""),
    _positive("epsilon_lower_{method}", "lower bound of epsilon, heuristic: {method}", "nats"),
    _positive("epsilon_ceiling_{method}", "largest possible bound, heuristic: {method}", "nats", ""),
    _positive("epsilon_lower", "lower bound of epsilon", "nats"),
    _positive("epsilon_ceiling", "largest bound so many guesses could show", "nats", ""),
    # what attacks of plugins name
    _auc("{statistic}_auc", "AUC by {statistic}"),
    _share("{what}_rate", "{what}, share"),
    _share("{what}_share", "{what}, share"),
)


def find_metric(name: str) -> MetricSpec:
    """The row of a metric with its name and title filled in; without a row, one that says nothing but the name."""
    return _find(name, METRICS)[1]


def row_number(name: str) -> int:
    """The place of a metric's row in METRICS, for sorting; metrics without a row come last."""
    return _find(name, METRICS)[0]


@cache
def _find(name: str, table: tuple[MetricSpec, ...]) -> tuple[int, MetricSpec]:
    plain, _, features = name.removeprefix(_ORIENTED).partition(_FEATURES)
    for number, row in enumerate(table):
        if matched := row.pattern.fullmatch(plain):
            words = {key: _percent(value) if key == "rate" else value for key, value in matched.groupdict().items()}
            title = row.title.format(**words)
            title += ", sign from calibration" if name.startswith(_ORIENTED) else ""
            return number, replace(row, name=name, title=title + (f" ({features})" if features else ""))
    return len(table), MetricSpec(name, name)


def _percent(rate: str) -> str:
    return f"{float(rate) * 100:g} %"


def other_features(name: str) -> str:
    """The features that a metric was measured in, where these are not the suite's own; else ""."""
    return name.partition(_FEATURES)[2]

"""Scores of images -> scores of the people (patients, scenes) whose images they are, for two questions of a regulator:

- by person: were these images of the person used? One score for the images of each person that were scored;
- by identity: was anything of the person used? The same of other images of the person, on which nothing was trained
  (identity inference; 2410.10177 asks it of faces). Persons that were not trained on are asked by as many held-back
  images, so that the two sides differ in nothing but the training.

The scores z of images have the sign that the calibration images asked for, and are in units of the calibration
nonmembers' images: their mean 0, their standard deviation 1. A person's score is the mean, the sum or the largest of
theirs, whichever has the largest AUC among the calibration persons; of equals the first. With a shift d, a correlation
rho within persons and k images of each, the mean separates persons by d / sqrt(rho + (1 - rho) / k).

Choices of ours: the three ways and how one is chosen. No reported person has a say in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from leakbench.metrics.evaluate.membership import score_sign
from leakbench.results.evidence import MembershipEvidence
from leakbench.statistics import auc, finite
from leakbench.statistics.groups import number_groups

Sides = dict[str, tuple[np.ndarray, np.ndarray]]  # by part: scores of images, and the person of each

PARTS: Final = {  # the part of the split behind each array of scores
    "member_scores": "member",
    "nonmember_scores": "nonmember",
    "calibration_member_scores": "calibration_in",
    "calibration_nonmember_scores": "calibration_out",
}


def _mean(scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return np.asarray(np.bincount(codes, scores) / np.bincount(codes))


def _sum(scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return np.asarray(np.bincount(codes, scores))


def _largest(scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
    found = np.full(codes.max() + 1, -np.inf)
    np.maximum.at(found, codes, scores)
    return found


WAYS: Final[dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "mean": _mean,
    "sum": _sum,
    "largest": _largest,
}


def score_persons(evidence: MembershipEvidence) -> tuple[MembershipEvidence, str]:
    """Scores of persons by the images that were scored, and the way in which they were joined, a key of WAYS.

    Raises ValueError where images do not come in groups."""
    return _join(_sides(evidence), evidence)


def score_identities(
    evidence: MembershipEvidence, others: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> tuple[MembershipEvidence, str]:
    """The same by other images of these persons. `others`: by name of a part, the scores of its persons' held-back
    images and the person of each."""
    return _join({name: others[part] for name, part in PARTS.items()}, evidence)


def _sides(evidence: MembershipEvidence) -> Sides:
    found: Sides = {}
    for name in PARTS:
        groups = getattr(evidence, name.replace("_scores", "_groups"))
        if groups is None:
            raise ValueError("images that do not come in groups have no persons")
        found[name] = getattr(evidence, name), groups
    return found


def _join(
    sides: Mapping[str, tuple[np.ndarray, np.ndarray]], images: MembershipEvidence
) -> tuple[MembershipEvidence, str]:
    sign = score_sign(images)
    with np.errstate(over="ignore", invalid="ignore"):  # a score that is no number stays one, and is flagged
        known = sign * images.calibration_nonmember_scores
        centre, spread = float(known.mean()), float(known.std()) or 1.0
        units = {
            name: ((sign * scores - centre) / spread, number_groups(groups, len(scores)))
            for name, (scores, groups) in sides.items()
        }
        ways = {way: {name: join(*of) for name, of in units.items()} for way, join in WAYS.items()}

    def strength(way: str) -> float:
        inside, outside = (ways[way][f"calibration_{side}_scores"] for side in ("member", "nonmember"))
        return round(auc(finite(inside), finite(outside)).value, 12)

    best = max(ways, key=strength)
    whose: dict[str, Any] = {
        name.replace("_scores", "_groups"): np.unique(groups) for name, (_, groups) in sides.items()
    }
    return MembershipEvidence(**{**ways[best], **whose}), best

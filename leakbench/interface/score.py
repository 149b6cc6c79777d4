"""`leakbench.score`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from leakbench.interface.score_arrays import ScoreArrays, check_groups, check_labels, check_scores
from leakbench.interface.score_results import ScoreResults
from leakbench.runtime.errors import UsageError

_WHERE = "leakbench.score"
_CALIBRATION = ("calibration_member_group", "calibration_nonmember_group")


def score(
    member: ArrayLike,
    nonmember: ArrayLike,
    *,
    calibration_member: ArrayLike | None = None,
    calibration_nonmember: ArrayLike | None = None,
    member_labels: ArrayLike | None = None,
    nonmember_labels: ArrayLike | None = None,
    member_group: ArrayLike | None = None,
    nonmember_group: ArrayLike | None = None,
    calibration_member_group: ArrayLike | None = None,
    calibration_nonmember_group: ArrayLike | None = None,
) -> ScoreResults:
    """Evaluate scores of a script of your own as an attack's are, with the numbers of `leakbench score`.

    - member, nonmember: scores of images that were trained on (m,) and of images that were not (n,), at least two each:
      one number an image, higher = more likely a member. NaN counts as the least member-like score, and is flagged.
    - calibration_member, calibration_nonmember: scores of other images, which are not reported. The sign of the scores
      and the threshold of balanced accuracy come from them; without them scores are taken as they are.
    - member_labels, nonmember_labels: whole numbers from 0 up, the class of each image; for leakage by class.
    - member_group, nonmember_group: whole numbers from 0 up or text, the person or scene of each image: intervals,
      tests and what could have been seen then count people. The same of calibration images.

    Raises UsageError, in one line that names the array.
    """
    pairs = (calibration_member, calibration_nonmember), (member_labels, nonmember_labels)
    people = (member_group, nonmember_group), (calibration_member_group, calibration_nonmember_group)
    scores = check_scores(_WHERE, ("member", "nonmember"), (member, nonmember))
    if scores is None:
        raise UsageError(f"{_WHERE}: member and nonmember are None; give one number an image of each")
    calibration = check_scores(_WHERE, ("calibration_member", "calibration_nonmember"), pairs[0])
    labels = check_labels(_WHERE, ("member_labels", "nonmember_labels"), pairs[1], scores)
    named = (("member_group", "nonmember_group"), people[0], scores), (_CALIBRATION, people[1], calibration)
    return ScoreResults(ScoreArrays(scores, calibration, labels, *check_groups(_WHERE, named)))

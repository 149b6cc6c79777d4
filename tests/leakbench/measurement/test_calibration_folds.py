"""The folds in which an attack that learns scores its calibration images: by people, where these have several."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.measurement.membership_evidence import CalibrationFitter

MEMBER = np.repeat([True, False], [30, 21])


def deal(groups, folds=5):
    return CalibrationFitter(None, None, MEMBER, None, groups)._deal(folds)


def test_without_people_images_are_dealt_in_turn():
    assert deal(None).tolist() == [*(np.arange(30) % 5), *(np.arange(21) % 5)]


def test_one_image_a_person_is_dealt_as_without_people():
    order = np.random.default_rng(0).permutation(51)
    assert deal(order).tolist() == deal(None).tolist()


@pytest.mark.parametrize("people", [2, 4, 7])
def test_a_person_is_in_one_fold_and_every_fold_has_both_sides(people):
    groups = np.random.default_rng(people).integers(0, people, 51)
    fold = deal(groups)
    for side in (MEMBER, ~MEMBER):
        assert set(fold[side]) == set(range(min(5, people)))
        for person in set(groups[side]):
            assert len(set(fold[side & (groups == person)])) == 1


def test_a_person_on_both_sides_is_in_one_fold():
    """Else the scores of one half would come from a fit that has learnt the other half as members."""
    groups = np.concatenate([np.arange(30) // 3, (30 - np.arange(21)) // 3])
    fold = deal(groups)
    assert all(len(set(fold[groups == person])) == 1 for person in set(groups.tolist()))
    assert all(len(set(fold[side])) > 1 for side in (MEMBER, ~MEMBER))


def test_no_fold_holds_all_images_of_a_side():
    """The nonmembers are of two members who come into one fold: dealt by people, a fit would have no nonmember."""
    groups = np.concatenate([np.arange(30), np.where(np.arange(21) < 10, 0, 2)])
    assert deal(groups, folds=2).tolist() == deal(None, folds=2).tolist()


def test_of_a_single_person_on_a_side_images_are_dealt():
    assert deal(np.where(MEMBER, 1, np.arange(51))).tolist() == deal(None).tolist()

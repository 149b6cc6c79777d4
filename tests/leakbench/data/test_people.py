"""The toy of people: images of a person resemble one another, and some can be held back from all parts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from leakbench.data import SplitSpec, draw_split
from leakbench.data.people import people
from leakbench.runtime.errors import UsageError


@pytest.fixture(scope="module")
def toy():
    return people("6")


def test_the_same_people_each_time(toy):
    assert np.array_equal(toy.images, people("6").images) and toy.digest == people("6").digest
    assert toy.images.shape == (3600, 8, 8, 1) and toy.images.dtype == np.uint8
    assert np.array_equal(np.unique(toy.group, return_counts=True)[1], np.full(600, 6))
    assert all(len(set(toy.labels[toy.group == one])) == 1 for one in range(0, 600, 50))
    assert toy.name == "people:6" and people("").name == "people:8"


def test_images_of_a_person_are_nearer_to_one_another_than_to_others_and_no_near_duplicates(toy):
    rows = toy.images.reshape(len(toy.images), -1) / 127.5 - 1
    apart = np.sqrt(((rows[:, None] - rows[None, :600]) ** 2).mean(axis=2))
    same = (toy.group[:, None] == toy.group[None, :600]) & (apart > 0)
    others = toy.group[:, None] != toy.group[None, :600]
    usual = np.median(apart[others])
    assert np.median(apart[same]) < 0.8 * usual
    assert (apart[same] < 0.15 * usual).mean() < 0.01


@pytest.mark.parametrize("argument", ["1", "33", "six", "-2", "2.5"])
def test_another_number_is_refused(argument):
    with pytest.raises(UsageError, match=r'write dataset = "people:K" with K images of a person, 2 to 32'):
        people(argument)


def test_images_are_held_back_of_every_person_and_are_in_no_part(toy):
    spec = SplitSpec(members=80, nonmembers=80, calibration_in=40, calibration_out=40, other_images=2)
    split = draw_split(toy, spec)
    used = np.concatenate(list(split.parts.values()))
    assert split.held_back == split.others
    for part in ("member", "nonmember", "calibration_in", "calibration_out"):
        rows = split.others[part]
        assert set(toy.group[rows]) == set(toy.group[split.parts[part]])
        assert np.unique(toy.group[rows], return_counts=True)[1].tolist() == [2] * (len(rows) // 2)
        assert not np.isin(rows, used).any()
    assert split.digest == draw_split(toy, spec).digest != draw_split(toy, spec.model_copy(update={"seed": 1})).digest


def test_nothing_held_back_is_the_split_that_there_was(toy):
    plain = SplitSpec(members=80, nonmembers=80, calibration_in=40, calibration_out=40)
    assert not draw_split(toy, plain).others
    assert draw_split(toy, plain).digest == draw_split(toy, plain.model_copy(update={"other_images": 0})).digest


def test_people_on_both_sides_of_a_given_split_are_asked_about_by_their_images_among_the_nonmembers(toy):
    """Of 60 people 40 are trained on by four images; of half of these the other two are among the nonmembers."""
    words, person, image = (
        np.full(len(toy.images), "reference", dtype="<U15"),
        toy.group,
        np.arange(len(toy.images)) % 6,
    )
    words[(person < 40) & (image < 4)] = "member"
    words[(person < 20) & (image >= 4)] = "nonmember"
    words[(person >= 40) & (person < 60)] = "nonmember"
    words[(person >= 60) & (person < 80) & (image < 4)] = "calibration_in"
    words[(person >= 60) & (person < 80) & (image >= 4)] = "calibration_out"
    words[(person >= 80) & (person < 100)] = "calibration_out"
    split = draw_split(dataclasses.replace(toy, split=words), SplitSpec())
    others = split.others
    people_of = {part: set(person[rows]) for part, rows in others.items()}
    assert people_of["member"] == set(range(20)) and people_of["nonmember"] == set(range(40, 60))
    assert people_of["calibration_in"] == set(range(60, 80)) and people_of["calibration_out"] == set(range(80, 100))
    assert set(words[others["member"]]) == {"nonmember"} and set(image[others["member"]]) == {4, 5}
    assert not split.held_back
    words[(person >= 60) & (person < 80) & (image >= 4)] = "reference"  # calibration images tell nothing of such people
    assert not draw_split(dataclasses.replace(toy, split=words), SplitSpec()).others


def test_where_nobody_has_more_images_than_are_to_be_held_back_the_number_is_refused(toy):
    """Held back are images of groups that have more: with six of each person, six can't be."""
    spec = SplitSpec(members=80, nonmembers=80, calibration_in=40, calibration_out=40, other_images=6)
    with pytest.raises(UsageError, match=r"split.other_images = 6: nobody among those who are drawn has more than 6"):
        draw_split(toy, spec)
    given = np.repeat(["member", "nonmember", "calibration_in", "calibration_out", "reference"], 720)
    with pytest.raises(UsageError, match=r"split.other_images = 1: nobody among those who are drawn"):
        draw_split(dataclasses.replace(toy, split=given), spec.model_copy(update={"other_images": 1}))


def test_a_part_in_which_hardly_anybody_has_more_images_is_named(toy):
    """As of faces, most of whom have one picture: here all but three people."""
    rows = np.flatnonzero((toy.group < 3) | (np.arange(len(toy.images)) % 6 == 0))
    few = dataclasses.replace(
        toy, images=toy.images[rows], labels=toy.labels[rows], trait=toy.trait[rows], group=toy.group[rows]
    )
    spec = SplitSpec(members=80, nonmembers=80, calibration_in=40, calibration_out=40, other_images=2)
    with pytest.raises(UsageError, match=r"split.other_images: of part '\w+' [01] people have images to hold back"):
        draw_split(few, spec)


def test_images_that_are_nobody_s_have_no_others(toy):
    with pytest.raises(UsageError, match=r"split.other_images = 2: the images do not come in groups"):
        draw_split(dataclasses.replace(toy, group=None), SplitSpec(other_images=2))

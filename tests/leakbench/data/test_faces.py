"""Faces by scikit-learn's loaders, of files that the tests make: whose each image is, and what is said without them."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from PIL import Image

from leakbench.data import SplitSpec, draw_split
from leakbench.runtime.errors import UsageError

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def place(cache):
    """place(name): the folder in which scikit-learn looks for a data set's files."""

    def make(name):
        folder = cache / "downloads" / name
        folder.mkdir(parents=True)
        return folder

    return make


def test_olivetti_is_forty_people_of_ten_photographs(place, load):
    faces = RANDOM.integers(0, 256, (400, 64, 64), dtype=np.uint8)
    faces[0, 0, :2] = 0, 255
    columns_first = faces.transpose(0, 2, 1).reshape(400, -1) / np.float32(255)
    joblib.dump(columns_first, place("olivetti") / "olivetti_py3.pkz", compress=6)
    data = load("olivetti")
    np.testing.assert_array_equal(data.images[..., 0], faces)
    np.testing.assert_array_equal(data.group, np.arange(400) // 10)
    assert data.labels is None and data.name == "olivetti"
    spec = SplitSpec(members=100, nonmembers=100, calibration_in=40, calibration_out=40)
    split = draw_split(data, spec)
    people = [set(data.group[rows]) for rows in split.parts.values()]
    assert len(set.union(*people)) == sum(map(len, people)) == 40


def test_lfw_is_the_middle_of_each_picture_and_its_person(place, load):
    home = place("lfw") / "lfw_home"
    for person, count in (("Ann_Lee", 3), ("Bo_Li", 1), ("Cy_Xu", 2)):
        (home / "lfw_funneled" / person).mkdir(parents=True)
        for number in range(1, count + 1):
            pixels = np.full((250, 250, 3), 9, dtype=np.uint8)
            pixels[61:189, 61:189] = 10 * ord(person[0]) % 256, 20 * number, 100
            Image.fromarray(pixels).save(home / "lfw_funneled" / person / f"{person}_{number:04}.jpg", quality=100)
    for file in ("pairsDevTrain.txt", "pairsDevTest.txt", "pairs.txt"):
        (home / file).write_text("")
    data, several = load("lfw"), load("lfw:2")
    assert data.shape == (3, 64, 64) and data.labels is None and several.name == "lfw:2"
    seen = {(int(person), int(image[9, 9, 1] + 5) // 20) for person, image in zip(data.group, data.images, strict=True)}
    assert seen == {(0, 1), (0, 2), (0, 3), (1, 1), (2, 1), (2, 2)}
    assert sorted(several.group) == [0, 0, 0, 1, 1] and int(data.images.min()) > 9
    with pytest.raises(UsageError, match="'lfw': min_faces_per_person=9 is too restrictive"):
        load("lfw:9")


@pytest.mark.parametrize("name", ["olivetti", "lfw"])
def test_without_a_network_it_is_said_what_to_do(cache, name, load):
    with pytest.raises(UsageError) as refused:
        load(name)
    message = str(refused.value)
    assert "\n" not in message and str(cache / "downloads" / name) in message and "data_home=FOLDER" in message


@pytest.mark.parametrize("name", ["olivetti:64", "lfw:0", "lfw:x"])
def test_arguments_that_mean_nothing_are_refused(name, load):
    with pytest.raises(UsageError, match="write"):
        load(name)

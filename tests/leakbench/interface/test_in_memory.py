"""Pipelines and images in memory are audited with the numbers of those that were saved."""

from __future__ import annotations

import stat

import numpy as np
import pytest
import torch
from PIL import Image

import leakbench as lb
from leakbench.interface.in_memory import locate_images, locate_model
from leakbench.results.run_folder import RunFolder


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LEAKBENCH_CACHE", str(tmp_path / "cache"))


def written(images):
    found = locate_images({"members": images})["members"]
    with np.load(found) as file:
        return file["images"]


LEVELS = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
SAME = {
    "levels": LEVELS,
    "channels first": LEVELS.transpose(0, 3, 1, 2),
    "wide integers": LEVELS.astype(np.int64),
    "unit": LEVELS / 255,
    "signed": (LEVELS / 127.5 - 1).astype(np.float32),
    "tensor": torch.from_numpy(LEVELS).permute(0, 3, 1, 2),
    "signed tensor, half": (torch.from_numpy(LEVELS / 127.5 - 1)).permute(0, 3, 1, 2).float().requires_grad_(),
    "pictures": [Image.fromarray(one) for one in LEVELS],
    "list of tensors": list(torch.from_numpy(LEVELS)),
}


@pytest.mark.parametrize("form", SAME)
def test_every_form_of_the_same_images_is_the_same_levels(form):
    assert np.array_equal(written(SAME[form]), LEVELS)


def test_where_both_axes_could_be_channels_a_tensor_has_them_first_and_an_array_last():
    both = np.arange(5 * 3 * 4 * 3, dtype=np.uint8).reshape(5, 3, 4, 3)
    assert np.array_equal(written(both), both)
    assert np.array_equal(written(torch.from_numpy(both)), both.transpose(0, 2, 3, 1))


def test_the_range_of_floats_is_that_of_all_sets():
    """The darkest members are above 0 in [-1, 1] by chance: the other side says which range it is."""
    found = locate_images({"members": np.full((2, 4, 4), 0.0), "nonmembers": np.full((2, 4, 4), -1.0)})
    for name, level in {"members": 128, "nonmembers": 0}.items():
        with np.load(found[name]) as file:
            assert (file["images"] == level).all()


def test_equal_content_has_one_place_that_no_one_else_reads(tmp_path):
    first, again = (locate_images({"members": LEVELS.copy()}) for _ in range(2))
    assert first == again and first != locate_images({"members": LEVELS[::-1]})
    home = tmp_path / "cache" / "in_memory"
    assert len(list(home.iterdir())) == 2 and stat.S_IMODE(home.stat().st_mode) == 0o700


def test_paths_and_names_stay():
    assert locate_images({"members": "digits", "nonmembers": "some/folder"}) == {
        "members": "digits",
        "nonmembers": "some/folder",
    }
    assert locate_model("google/ddpm-cifar10-32") == "google/ddpm-cifar10-32"


WRONG = {
    "one picture": (np.zeros((3, 3), np.uint8), "shape (3, 3)"),
    "five channels": (np.zeros((2, 8, 8, 5), np.uint8), "shape (2, 8, 8, 5)"),
    "none": (np.zeros((0, 8, 8), np.uint8), "no images"),
    "beyond": (np.full((2, 8, 8), 256), "values from 256 to 256: int64 goes from 0 to 255"),
    "levels as floats": (np.full((2, 8, 8), 200.0), "values from 200 to 200: float64 goes from 0 to 1"),
    "not finite": (np.full((2, 8, 8), np.nan), "values from nan to nan"),
    "truths": (np.zeros((2, 8, 8), bool), "values of type bool"),
    "words": (7, "a int: give a folder, an .npz file"),
    "sizes": ([np.zeros((2, 2)), np.zeros((3, 3))], "of one size"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_set_of_images_is_one_line(case):
    images, words = WRONG[case]
    with pytest.raises(lb.UsageError) as caught:
        locate_images({"members": images})
    assert str(caught.value).startswith("members: ") and words in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_model_is_one_line():
    with pytest.raises(
        lb.UsageError, match="model: a Linear: give a diffusers pipeline, its folder, a hub id, or a function"
    ):
        locate_model(torch.nn.Linear(1, 1))


def test_an_audit_of_objects_has_the_numbers_of_an_audit_of_their_files(pipelines, tmp_path, monkeypatch):
    from leakbench.runner import run_log

    monkeypatch.setattr(run_log, "FORMATS", ("csv",))
    generator = np.random.default_rng(1)
    members, nonmembers = (generator.integers(0, 256, (n, 8, 8), dtype=np.uint8) for n in (60, 90))
    model = pipelines.tiny()
    model.save_pretrained(tmp_path / "model")
    options = {"attacks": ["blind", "loss"], "settings": {"quality.samples": 20, "quality.features": "pixels"}}
    options |= {"workers": 1}
    for name, images in {"members": members, "nonmembers": nonmembers}.items():
        np.savez(tmp_path / f"{name}.npz", images=images)
    signed = torch.from_numpy(members[:, None] / 127.5 - 1)
    before = torch.get_rng_state()
    objects = lb.audit(model, signed, nonmembers, out=tmp_path / "objects", **options)
    assert torch.equal(torch.get_rng_state(), before), "training goes on as if nothing had been"
    paths = [tmp_path / "model", tmp_path / "members.npz", tmp_path / "nonmembers.npz"]
    files = lb.audit(*paths, out=tmp_path / "files", **options)
    numbers = [{r.stem: r.metrics for r in RunFolder(one.path).records} for one in (objects, files)]
    assert numbers[0] == numbers[1] and len(numbers[0]) >= 3
    again = lb.audit(pipelines.tiny(), signed, nonmembers, out=tmp_path / "objects", **options)
    assert again.path == objects.path, "an equal pipeline goes on in the same folder"

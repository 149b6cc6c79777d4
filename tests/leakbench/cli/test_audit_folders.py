"""`leakbench audit` on folders as people have them: several kinds of files, grey in colour, and what the options do."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image


def levels(count, seed):
    """Grey pictures (count, 8, 8) that are no near-duplicates."""
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8), dtype=np.uint8)


def save(folder, images, mode="L"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).convert(mode).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture
def given(tmp_path):
    """Grey members, nonmembers in RGB files that are grey, generated images with transparency."""
    save(tmp_path / "members", levels(50, 0))
    save(tmp_path / "nonmembers", levels(70, 1), "RGB")
    save(tmp_path / "generated", levels(20, 2), "RGBA")
    return ["--members", tmp_path / "members", "--nonmembers", tmp_path / "nonmembers", "--workers", 1]


def planned(tmp_path, leakbench, *words):
    """What plan.json says of the split, of a run of the blind baseline."""
    small = ["--attacks", "blind", "--set", "quality.features=pixels", "--out", tmp_path / "run"]
    outcome = leakbench("audit", *words, *small)
    assert outcome.code == 0, outcome.err
    return json.loads((tmp_path / "run" / "plan.json").read_text())["split"]


def test_generated_images_of_another_kind_are_converted_as_the_sides_are(given, leakbench, tmp_path):
    words = ["--samples", tmp_path / "generated", *given]
    outcome = leakbench("audit", *words, "--plan")
    assert outcome.code == 2 and "20 of 20 image files have transparency" in outcome.err
    split = planned(tmp_path, leakbench, *words, "--convert")
    assert split["images"] == "folder:nonmembers,convert: grey everywhere in files of colour: taken as grey"


def test_grey_files_go_to_a_model_of_colour_only_when_converted(given, leakbench, tmp_path):
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    unet = UNet2DModel(sample_size=8, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4, **blocks)
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "mine")
    words = ["--attacks", "blind", "--set", "quality.features=pixels", "--plan"]
    outcome = leakbench("audit", tmp_path / "mine", *given, *words)
    assert outcome.code == 2 and "1 channel, and mine makes images of 3" in outcome.err and "--convert" in outcome.err
    assert leakbench("audit", tmp_path / "mine", *given, *words, "--convert").code == 0
    save(tmp_path / "members", levels(50, 0), "RGB")  # grey, in files of colour: given as they are
    assert leakbench("audit", tmp_path / "mine", *given, *words).code == 0


def test_members_are_named_by_their_files_only_when_their_owner_asks(given, leakbench, tmp_path):
    """Generated images are copies of known members, so the file that each is nearest to is known beforehand."""
    copied = [7, 0, 31, *range(40, 50), *range(10, 20)]
    save(tmp_path / "copies", levels(50, 0)[copied])
    words = ["--samples", tmp_path / "copies", *given, "--set", "quality.features=pixels", "--out", tmp_path / "run"]
    assert leakbench("audit", *words, "--attacks", "gan_leaks,nearest_copy").code == 0
    kept = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*.csv"))
    assert b".png" not in kept
    outcome = leakbench("files", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    tables = {
        path.name: list(csv.DictReader(path.read_text().splitlines())) for path in (tmp_path / "run-files").iterdir()
    }
    nearest = {
        int(row["sample"]): row["file"] for row in tables["copies.csv"] if row["record"].startswith("model__nearest")
    }
    assert [nearest[sample] for sample in range(23)] == [str(tmp_path / "members" / f"{i:03}.png") for i in copied]
    scores = {row["file"]: float(row["model__gan_leaks__SAMPLES__seed0"]) for row in tables["scores.csv"]}
    exact = {file for file, score in scores.items() if score == 0}  # gan_leaks: distance to the nearest sample
    assert exact == {row["file"] for row in tables["scores.csv"] if row["file"] in nearest.values()} != set()
    save(tmp_path / "members", levels(50, 9))
    outcome = leakbench("files", tmp_path / "run")
    assert outcome.code == 2 and "changed since the run" in outcome.err


def test_a_rotation_and_a_range_go_for_all_sides(given, leakbench, tmp_path):
    for side in ("members", "nonmembers"):
        path = next((tmp_path / side).glob("*.png"))
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.open(path).save(path, exif=exif)
    words = ["--samples", save(tmp_path / "made", levels(20, 2)), *given]
    split = planned(tmp_path, leakbench, *words, "--upright", "--levels", "0:4095")
    done = "have a rotation noted in EXIF: applied"
    assert split["images"].count(done) == 2 and "folder:members,upright,levels=0:4095" in split["images"]
    refused = leakbench("audit", *words, "--levels", "9:1")
    assert refused.code == 2 and "--levels '9:1': LOW should be below HIGH" in refused.err

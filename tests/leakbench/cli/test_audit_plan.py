"""`leakbench audit --plan` reads headers alone: no torch, the errors of a full plan, the plan that a run follows."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import leakbench as lb
from leakbench.runner.estimate.speeds import find_speed, keep_speed, measure_numpy

PLAN = """
import sys
from leakbench.cli.command_line import main
sys.argv = ["leakbench", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end
print(*sorted({"torch", "diffusers", "pandas", "scipy", "sklearn"} & set(sys.modules)), file=sys.stderr)
"""


def save(folder, count, seed, shape=(16, 16, 3)):
    folder.mkdir()
    for number, image in enumerate(np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A pipeline that diffusers made, and two folders of pictures."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    home = tmp_path_factory.mktemp("given")
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    unet = UNet2DModel(sample_size=16, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4, **blocks)
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(home / "model")
    return home / "model", save(home / "members", 50, 0), save(home / "nonmembers", 70, 1)


def words(given, *more):
    model, members, nonmembers = given
    return ["audit", model, "--members", members, "--nonmembers", nonmembers, "--device", "cpu", *more, "--plan"]


@pytest.mark.parametrize("choice", ["standard", "all"])
def test_a_plan_imports_no_torch(given, choice, tmp_path):
    command = [sys.executable, "-c", PLAN, *map(str, words(given, "--attacks", choice))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, ""), done.stderr
    assert "5 cells (0 to train)" in done.stdout and "DENOISER  loss, " in done.stdout
    assert "minutes" in done.stdout and "by the speed of numpy's matrix product" in done.stdout
    assert not list(tmp_path.iterdir()), "a plan writes nothing"


def test_a_plan_checks_the_weights_once_and_takes_settings_of_the_model(given, leakbench, monkeypatch):
    from leakbench.models.pretrained import settings, weight_check

    model, members, nonmembers = given
    seen: list[object] = []
    monkeypatch.setattr(settings, "knows_all", lambda folder: False)  # as of all but plain U-Nets
    monkeypatch.setattr(weight_check, "check_weights", lambda folder, trust: seen.append(folder.path))
    bare = words((model / "unet", members, nonmembers), "--set", "defense.model.prediction=epsilon")
    found = leakbench(*bare)
    assert (found.code, found.err, len(seen)) == (0, "", 1) and "5 cells (0 to train)" in found.out
    assert leakbench(*bare).code == 0 and len(seen) == 1
    os.utime(model / "unet/config.json", (1, 1))
    assert leakbench(*bare).code == 0 and len(seen) == 2


def test_the_cells_and_images_are_those_of_the_run(given, leakbench, tmp_path):
    """A run with the same words has the parts and the attacks of the plan."""
    small = ["sampler.steps=2", "sampler.batch=32", "quality.samples=20", "quality.features=pixels"]
    model, members, nonmembers = given
    planned = leakbench(*words(given, "--attacks", "loss,pia", "--workers", 1)).out
    ran = lb.audit(
        model, members, nonmembers, attacks="loss,pia", settings=small, out=tmp_path / "run", device="cpu", workers=1
    )
    found = json.loads((ran.path / "plan.json").read_text())["split"]
    assert f"{found['member']} members and {found['nonmember']} nonmembers" in planned
    assert {path.name.split("__")[1] for path in (ran.path / "records").glob("*.json")} == {"quality", "loss", "pia"}
    assert "DENOISER  loss, pia\n" in planned and "NONE" not in planned


def test_what_headers_do_not_tell_is_planned_by_decoding(given, leakbench):
    for more, why in [(["--set", "attack.loss.t=50", "--attacks", "loss"], "--set attack.loss.t=50"), (["--skip-broken"], "--skip-broken")]:  # fmt: skip  # noqa: E501
        found = leakbench(*words(given, *more, "--set", "quality.features=pixels"))
        assert found.code == 0 and f"{why}: images were decoded for this plan" in found.err
        assert "by calls that were timed here and now" in found.out


@pytest.mark.parametrize("plan", [True, False])
def test_errors_are_those_of_the_run(given, plan, leakbench, tmp_path):
    model, members, nonmembers = given
    few = save(tmp_path / "few", 2, 2)
    wide = save(tmp_path / "wide", 50, 3, (16, 24, 3))
    ends = ["--plan"] if plan else []

    def ask(one, two=nonmembers, of=model, *more):
        return leakbench("audit", of, "--members", one, "--nonmembers", two, "--device", "cpu", *more, *ends)

    assert "2 images, and at least 3 are needed" in ask(few).err
    assert "images are 16x24 (height x width), and model makes 16x16" in ask(wide).err
    assert "no such folder, .zip, .tar, .parquet or .npz file" in ask(tmp_path / "nowhere").err
    assert f"--members and --nonmembers are both {members}" in ask(members, members).err
    assert "unknown attack 'los' (did you mean 'loss'?)" in ask(members, nonmembers, model, "--attacks", "los").err
    both = ask(members, nonmembers, model, "--attacks", "piaa,loss,secmj").err
    assert "unknown attacks 'piaa' (did you mean 'pia'?), 'secmj' (did you mean 'secmi'?)" in both
    broken = tmp_path / "broken"
    (broken / "unet").mkdir(parents=True)
    for name in ("model_index.json", "unet/config.json"):
        (broken / name).write_text((model / name).read_text())
    (broken / "scheduler").mkdir()
    settings = json.loads((model / "scheduler" / "scheduler_config.json").read_text())
    (broken / "scheduler" / "scheduler_config.json").write_text(json.dumps(settings))
    assert "no weights; it should hold" in ask(members, nonmembers, broken).err
    (broken / "scheduler" / "scheduler_config.json").write_text(json.dumps({**settings, "_class_name": "Flow"}))
    assert "scheduler 'Flow' is not known" in ask(members, nonmembers, broken).err


def test_a_speed_that_a_run_measured_is_used_near_its_size(monkeypatch, tmp_path):
    monkeypatch.setenv("LEAKBENCH_CACHE", str(tmp_path))
    assert find_speed("cpu", 1e6) is None
    keep_speed("cpu", 1e6, 2e-3)
    keep_speed("cpu", 1e9, 1.0)
    assert find_speed("cpu", 3e6).seconds == pytest.approx(2e-9)
    assert find_speed("cpu", 1e10).seconds == pytest.approx(1e-9)
    assert find_speed("cpu", 1e13) is None and find_speed("cuda", 1e6) is None
    (tmp_path / "speeds.json").write_text("{]")
    assert find_speed("cpu", 1e6) is None
    assert 1e-14 < measure_numpy().seconds < 1e-7


# Groups ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(given, tmp_path_factory):
    """The same pipeline; two folders of pictures of 50 and 60 people, two each, of whom ten are in both."""
    home = tmp_path_factory.mktemp("people")
    for side, first, count in (("members", 0, 50), ("nonmembers", 40, 60)):
        images = np.random.default_rng(first).integers(0, 256, (2 * count, 16, 16, 3), dtype=np.uint8)
        (home / side).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(home / side / f"p{first + number // 2:03}_{number}.png")
    return given[0], home / "members", home / "nonmembers"


def test_a_plan_counts_groups_and_names_those_on_both_sides(people, leakbench, tmp_path):
    rows = [f"{path.parent.name}/{path.name},{path.name[:4]}\n" for side in people[1:] for path in side.iterdir()]
    (tmp_path / "who.csv").write_text("file,group\n" + "".join(rows))
    plans = [
        leakbench(*words(people, "--attacks", "loss", *more)).out
        for more in (("--group-by", "^(p[0-9]+)_"), ("--groups", tmp_path / "who.csv"))
    ]
    for plan in plans:
        assert "groups: 40 of member, 10 of calibration_in, 12 of calibration_out" in plan
        assert "shared-groups: 10 of them are on both sides (p040, p041, p042, " in plan
    lines = [[line for line in plan.splitlines() if "groups" in line or line.startswith("images")] for plan in plans]
    assert lines[0] == lines[1]
    assert "groups" not in leakbench(*words(people, "--attacks", "loss")).out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--group-by", "(p"], "--group-by (p: is no regular expression"),
        (["--group-by", "q[0-9]+"], "100 of 100 image files have nothing that it finds in their names"),
        (["--group-by", "folder"], "image files lie in no subfolder"),
        (["--group-by", "folder", "--groups", "x.csv"], "says whose each image is: leave one of them out"),
        (["--groups", "nowhere.csv"], "--groups nowhere.csv: no such file"),
    ],
)
def test_groups_that_cannot_be_are_refused_in_a_line(people, leakbench, more, said):
    found = leakbench(*words(people, *more))
    assert found.code == 2 and said in found.err and len(found.err.strip().splitlines()) == 1


def test_images_in_memory_have_groups_too(people, tmp_path):
    from leakbench.interface.in_memory import locate_images

    sets = {
        side: np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8) for side in ("members", "nonmembers")
    }
    found = locate_images(sets, (["Ann", "Bo", "Ann"], [7, 8, 9]))
    assert np.load(found["members"])["group"].tolist() == ["Ann", "Bo", "Ann"]
    assert np.load(found["nonmembers"])["group"].tolist() == [7, 8, 9]
    for groups, said in {(("a",), "b"): "1 for 3 members", "ab": "a str: give a CSV file, or two lists"}.items():
        with pytest.raises(lb.UsageError, match=said):
            locate_images(sets, groups)
    with pytest.raises(lb.UsageError, match="nonmembers are no images in memory"):
        locate_images(sets | {"nonmembers": "x.npz"}, (["Ann"] * 3, ["Bo"] * 3))

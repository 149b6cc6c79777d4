"""`leakbench audit`: a given model or given samples against members and nonmembers; what is kept, what is refused."""

from __future__ import annotations

import csv
import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

import leakbench as lb
from leakbench.data.member_folders import name_sides
from leakbench.results.run_folder import RunFolder
from leakbench.runner import run_log
from leakbench.runtime import registry
from leakbench.suite.audit_request.suite import Request, build_audit_suite

SMALL = [
    word
    for setting in ("sampler.steps=4", "sampler.batch=32", "quality.samples=20", "quality.features=pixels")
    for word in ("--set", setting)
]


def pictures(count, seed):
    """Smooth pictures (count, 16, 16, 3) with a grain: no two are near-duplicates."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    smooth = [np.asarray(Image.fromarray(one).resize((16, 16), Image.Resampling.BICUBIC)) for one in coarse]
    return np.clip(np.stack(smooth) + generator.integers(-20, 20, (count, 16, 16, 3)), 0, 255).astype(np.uint8)


def save(folder, images):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return folder


MEMBERS, NONMEMBERS = pictures(50, 0), pictures(70, 1)


@pytest.fixture
def sides(tmp_path):
    """Two folders of pictures, the members' in two levels."""
    save(tmp_path / "members", MEMBERS[:30])
    save(tmp_path / "members" / "more", MEMBERS[30:])
    save(tmp_path / "nonmembers", NONMEMBERS)
    return ["--members", tmp_path / "members", "--nonmembers", tmp_path / "nonmembers", "--workers", 1]


@pytest.fixture
def pipeline(tmp_path):
    """A DDPM pipeline that diffusers made."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    unet = UNet2DModel(sample_size=16, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4, **blocks)
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "my_pipeline")
    return tmp_path / "my_pipeline"


def refused(outcome, *words):
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome.err
    for word in words:
        assert word in outcome.err


TRAINED = """
name = "trained"
dataset = "{dataset}"
[network]
width = 8
blocks = 1
[sampler]
steps = 4
batch = 32
[quality]
samples = 20
features = "pixels"
[[defense]]
name = "baseline"
steps = 10
batch = 16
[[attack]]
name = "loss"
draws = 4
[[attack]]
name = "pia"
[[attack]]
name = "gan_leaks"
"""  # with the parameters of the set `standard`, which an audit takes


def test_an_exported_release_audits_to_the_scores_of_the_release_itself(sides, leakbench, tmp_path):
    dataset = name_sides(f"folder:{sides[1]}", f"folder:{sides[3]}")
    (tmp_path / "trained.toml").write_text(TRAINED.format(dataset=dataset))
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    assert leakbench("run", tmp_path / "trained.toml", "--out", ours, "--workers", 1).code == 0
    assert leakbench("export", ours, tmp_path / "exported").code == 0
    attacks = ["--attacks", "loss,pia,gan_leaks", *SMALL, "--out", theirs]
    assert leakbench("audit", tmp_path / "exported", *sides, *attacks).code == 0
    for attack in ("loss__DENOISER", "pia__DENOISER", "loss__WEIGHTS", "gan_leaks__SAMPLES"):
        known = np.load(ours / "arrays" / f"baseline__{attack}__seed0.npz")
        found = np.load(theirs / "arrays" / f"model__{attack}__seed0.npz")
        for key in ("member_scores", "nonmember_scores", "calibration_member_scores", "calibration_nonmember_scores"):
            assert np.ptp(known[key]) > 0
            np.testing.assert_allclose(found[key], known[key], rtol=1e-4, atol=1e-4)


@pytest.fixture
def copied(tmp_path):
    """Generated pictures, a third of them copies of members with a little noise."""
    noise = np.random.default_rng(5).integers(-2, 3, (20, 16, 16, 3))
    copies = np.clip(MEMBERS[:20].astype(int) + noise, 0, 255).astype(np.uint8)
    return save(tmp_path / "generated", np.concatenate([copies, pictures(40, 3)]))


def pixels_in(folder):
    """Every picture and every array of a run's folder, as bytes, and its text."""
    for path in folder.rglob("*"):
        if path.suffix == ".png":
            yield np.asarray(Image.open(path).convert("RGB")).tobytes()
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                yield from (arrays[key].tobytes() for key in arrays.files)
        elif path.is_file():
            yield path.read_bytes()


def holds_a_member(folder):
    """Whether any member lies in the folder: as uint8, as floats in [-1, 1], or as a row of a picture."""
    rows = [image[8].tobytes() for image in MEMBERS]
    floats = [(image[8] / 127.5 - 1).astype(kind).tobytes() for image in MEMBERS for kind in (np.float32, np.float64)]
    return any(row in data for data in pixels_in(folder) for row in (*rows, *floats))


def test_samples_alone_show_their_copies_and_no_more_access_than_there_is(sides, copied, leakbench, tmp_path):
    words = ["--out", tmp_path / "run", "--attacks", "blind,gan_leaks,nearest_copy", "--set", "quality.features=pixels"]
    assert leakbench("audit", "--samples", copied, *sides, *words).code == 0
    run = RunFolder(tmp_path / "run")
    assert {record.access for record in run.records} == {"NONE", "SAMPLES"}
    (copies,) = [record for record in run.records if record.attack == "nearest_copy"]
    in_training = run.plan.split["member"] + run.plan.split["calibration_in"]
    assert in_training == 50 and copies.metric("copy_rate").value >= 20 / 60
    rank = np.argsort(np.argsort([hashlib.sha256(image.tobytes()).hexdigest() for image in MEMBERS]))
    assert run.arrays(copies)["nearest"][:20].tolist() == rank[:20].tolist()
    assert {record.model for record in run.records} == {"none: generated images"}
    assert not holds_a_member(tmp_path / "run")
    leakbench("report", tmp_path / "run", "--format", "md")
    report = (tmp_path / "run" / "report.md").read_text()
    assert "handed in, not trained here" in report and "SAMPLES: strongest, AUC" in report
    assert "Nothing was asked for but generated images" in report


def test_members_as_jpeg_and_nonmembers_as_png_are_void_everywhere(copied, leakbench, tmp_path, monkeypatch):
    """The blind baseline reads the compression: whatever an attack finds here says nothing about a model."""
    rng = np.random.default_rng(3)
    grainy = [np.clip(pictures(70, seed) + rng.integers(-30, 30, (70, 16, 16, 3)), 0, 255) for seed in (4, 5)]
    for name, options in {"members": {"format": "JPEG", "quality": 20}, "nonmembers": {"format": "PNG"}}.items():
        (tmp_path / name).mkdir()
        for number, image in enumerate(grainy.pop().astype(np.uint8)):
            Image.fromarray(image).save(tmp_path / name / f"{number:03}.{options['format'].lower()}", **options)
    sides = ["--members", tmp_path / "members", "--nonmembers", tmp_path / "nonmembers", "--workers", 1]
    words = ["--attacks", "blind,gan_leaks", "--set", "quality.features=pixels", "--out", tmp_path / "run"]
    outcome = leakbench("audit", "--samples", copied, *sides, *words)
    assert outcome.code == 3 and outcome.err == ""
    assert "VOID, no membership result says anything: a classifier that never saw the model" in outcome.out
    with (tmp_path / "run" / "results.csv").open() as file:
        flags = {(row["attack"], "track-invalid" in row["flags"].split(";")) for row in csv.DictReader(file)}
    assert {("blind", True), ("gan_leaks", True)} <= flags and ("quality", True) not in flags
    assert leakbench("report", tmp_path / "run", "--format", "csv").code == 3
    monkeypatch.setattr(run_log, "FORMATS", ("csv",))  # as of the commands here: figures take seconds
    with pytest.warns(UserWarning, match="void: a classifier that never saw the model"):
        results = lb.audit(
            None,
            samples=copied,
            members=sides[1],
            nonmembers=sides[3],
            workers=1,
            out=tmp_path / "run",
            attacks=["blind", "gan_leaks"],
            settings=["quality.features=pixels"],
        )
    assert "the split itself leaks" in results.void[0]


@pytest.mark.slow
def test_members_are_kept_only_when_asked(sides, copied, leakbench, tmp_path):
    words = ["--attacks", "nearest_copy", "--set", "quality.features=pixels"]
    for name, more in (("without", []), ("with", ["--images"])):
        assert leakbench("audit", "--samples", copied, *sides, *words, *more, "--out", tmp_path / name).code == 0
    leakbench("report", tmp_path / "without", "--format", "figures,md")
    assert holds_a_member(tmp_path / "with")
    assert not holds_a_member(tmp_path / "without")


def test_attacks_that_a_model_has_no_timesteps_for_are_left_out_and_named(sides, pipeline):
    config = pipeline / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_train_timesteps": 60}))
    model = {"name": "pipeline", "path": str(pipeline)}
    request = Request("mine", model, f"folder:{sides[1]}", f"folder:{sides[3]}", attacks="all")
    suite, left_out = build_audit_suite(request, ())
    assert {"loss", "secmi", "pia"} <= set(left_out) and "59" in left_out["loss"]
    assert not set(left_out) & (set(suite.attacks) | {entry.get("id", entry["name"]) for entry in suite.file.attack})
    assert {"blind", "gan_leaks", "nearest_copy_pixels", "side"} <= set(suite.attacks)
    assert (suite.file.name, suite.file.headline) == ("audit-mine", "tpr@fpr=0.1")
    assert [point.label for point in suite.points] == ["model", "untrained"]


def test_an_audit_says_that_its_model_was_given_and_keeps_no_member(sides, pipeline, leakbench, tmp_path):
    words = [*SMALL, "--attacks", "blind,loss,nearest_copy", "--out", tmp_path / "run"]
    assert leakbench("audit", pipeline, *sides, *words).code == 0
    run = RunFolder(tmp_path / "run")
    assert [(p.point, p.role, p.given) for p in run.plan.points] == [
        ("model", "baseline", True),
        ("untrained", "control", False),
    ]
    models = {record.point: record.model for record in run.records}
    assert models == {"model": "my_pipeline", "untrained": "unet-8x1-1.2.2"}
    assert not holds_a_member(tmp_path / "run")


def grey(folder):
    for path in folder.rglob("*.png"):
        Image.open(path).convert("L").save(path)


def test_bad_input_is_one_line(sides, pipeline, copied, leakbench, tmp_path):
    members, nonmembers = sides[1], sides[3]
    refused(leakbench("audit", *sides), "MODEL", "--samples DIR")
    refused(leakbench("audit", tmp_path / "no", *sides), str(tmp_path / "no"), "no such folder")
    refused(leakbench("audit", pipeline, "--members", "nowhere", *sides[2:]), "--members 'nowhere'", "no such folder")
    refused(leakbench("audit", pipeline, *sides, "--attacks", "los"), "--attacks", "did you mean 'loss'?")
    refused(leakbench("audit", pipeline, *sides, "--attacks", "standart"), "'standart'", "did you mean 'standard'?")
    refused(leakbench("audit", pipeline, *sides, "--attacks", "rmia"), "--attacks rmia", "needs other models")
    refused(leakbench("audit", "--samples", copied, *sides, "--attacks", "loss"), "DENOISER", "allows SAMPLES")
    refused(leakbench("audit", "--samples", copied, *sides, "--guidance", 2), "--guidance", "MODEL")
    for name, pixels in {"small": pictures(20, 3)[:, :8, :8], "flat": pictures(20, 3)[:, :, :, 0]}.items():
        made, shape = save(tmp_path / name, pixels), {"small": "3x8x8", "flat": "1x16x16"}[name]
        refused(leakbench("audit", "--samples", made, *sides, "--plan"), f"--samples folder:{made}", shape, "3x16x16")
    refused(leakbench("audit", pipeline, *sides, "--size", 8), "8x8", "my_pipeline makes 16x16", "--size 16")
    save(nonmembers, MEMBERS[:1])
    refused(
        leakbench("audit", pipeline, *sides), str(members / "000.png"), str(nonmembers / "000.png"), "the same image"
    )
    (members / "broken.png").write_bytes(b"no picture")
    refused(leakbench("audit", pipeline, *sides), "1 of 51", "broken.png", "--skip-broken")
    (members / "broken.png").unlink()
    Image.new("RGB", (20, 16)).save(members / "odd.png")
    refused(leakbench("audit", pipeline, *sides), "odd.png", "20x16", "16x16")
    (members / "odd.png").unlink()
    save(nonmembers, NONMEMBERS[:1])
    for path in (*members.rglob("*.png"), *nonmembers.rglob("*.png")):
        Image.open(path).convert("L").save(path)
    refused(leakbench("audit", pipeline, *sides), "1 channel,", "my_pipeline makes images of 3")


@pytest.fixture
def undecoded(monkeypatch):
    """No image may be decoded."""

    def decoded(*given):
        raise AssertionError("an image was decoded before what is cheap was checked")

    monkeypatch.setattr("leakbench.data.image_files.decode_images", decoded)


def test_what_is_cheap_is_said_before_an_image_is_decoded(sides, pipeline, copied, leakbench, tmp_path, undecoded):
    refused(leakbench("audit", tmp_path / "no", *sides), str(tmp_path / "no"), "no such folder")
    refused(leakbench("audit", pipeline, *sides, "--attacks", "los"), "--attacks", "did you mean 'loss'?")
    refused(leakbench("audit", pipeline, *sides, "--defense", "cpsampl"), "did you mean 'cpsample'?")
    refused(leakbench("audit", pipeline, *sides, "--set", "sampler.stops=3"), "stops", "did you mean 'steps'?")
    refused(leakbench("audit", pipeline, *sides, "--captions", "txt"), "members/000.png", "caption missing")
    refused(leakbench("audit", pipeline, *sides, "--size", 8), "8x8", "my_pipeline makes 16x16", "--size 16")
    refused(leakbench("audit", "--samples", copied, *sides, "--attacks", "loss"), "DENOISER", "allows SAMPLES")
    few = save(tmp_path / "few", MEMBERS[:2])
    for given in ([pipeline], ["--samples", copied]):
        refused(leakbench("audit", *given, "--members", few, *sides[2:]), "--members", "2 images", "at least 3")
    small = save(tmp_path / "small", pictures(20, 3)[:, :8, :8])
    refused(leakbench("audit", "--samples", small, *sides), f"--samples folder:{small}", "3x8x8", "--size N")
    refused(leakbench("audit", "--samples", save(tmp_path / "3", MEMBERS[:3]), *sides), "3 images", "at least 20")
    grey(sides[3])
    refused(leakbench("audit", pipeline, *sides), "--nonmembers", "1 channel,", "my_pipeline makes images of 3")


def test_what_was_typed_is_what_is_named(sides, pipeline, copied, leakbench, tmp_path):
    few = save(tmp_path / "few", pictures(3, 3))
    outcome = leakbench("audit", "--samples", few, *sides)
    refused(outcome, f"--samples folder:{few}: 3 images", "at least 20")
    assert "quality.samples" not in outcome.err
    table = tmp_path / "captions.csv"
    rows = [f"{side.name}/{p.relative_to(side)},a" for side in (sides[1], sides[3]) for p in side.rglob("*.png")]
    table.write_text("\n".join(["file,caption", *rows, ""]))
    outcome = leakbench("audit", pipeline, *sides, "--captions", table)
    refused(outcome, f"--captions {table}: the model takes none")
    outcome = leakbench("audit", pipeline, *sides, "--guidance", 3)
    refused(outcome, "--guidance 3.0: the model knows no answer without condition")
    for path in sides[3].glob("*.png"):
        Image.fromarray(NONMEMBERS[0] ^ np.uint8(int(path.stem) % 8 // 4)).save(path)
    outcome = leakbench("audit", pipeline, *sides)
    refused(outcome, f"--nonmembers folder:{sides[3]}", "near-duplicates are left out", "at least 5")
    assert "[split]" not in outcome.err


def test_a_size_is_not_offered_where_channels_differ(sides, pipeline, copied, leakbench):
    grey(copied)
    outcome = leakbench("audit", "--samples", copied, *sides)
    refused(outcome, "1x16x16", "3x16x16", "grey", "RGB")
    assert "--size" not in outcome.err
    grey(sides[3])
    outcome = leakbench("audit", "--samples", save(copied.parent / "colour", pictures(20, 3)), *sides)
    refused(outcome, "1x16x16", "3x16x16", "grey", "RGB")
    assert "--size" not in outcome.err
    outcome = leakbench("audit", pipeline, *sides)
    refused(outcome, "1 channel,", "my_pipeline makes images of 3")
    assert "--size" not in outcome.err


def test_a_text_model_without_captions_is_told_the_option(sides, pipelines, leakbench, tmp_path):
    pipelines.untrained(tmp_path)
    outcome = leakbench("audit", tmp_path / "pipeline", *sides)
    refused(outcome, "text-conditional", "--captions FILE.csv", "--captions txt")


def test_an_image_too_large_to_decode_says_so(sides, pipeline, leakbench, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    Image.new("RGB", (32, 16)).save(sides[1] / "vast.png")
    refused(leakbench("audit", pipeline, *sides), "1 of 51", "vast.png: more than 300 pixels", "--skip-broken")


def test_an_unknown_scheduler_is_one_line(sides, pipeline, leakbench):
    config = pipeline / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_class_name": "MyScheduler"}))
    refused(leakbench("audit", pipeline, *sides), "MyScheduler", "known")


def test_broken_images_can_be_left_out_and_are_counted(sides, copied, leakbench, tmp_path):
    (sides[1] / "broken.png").write_bytes(b"no picture")
    words = ["--attacks", "blind", "--set", "quality.features=pixels", "--out", tmp_path / "run", "--skip-broken"]
    outcome = leakbench("audit", "--samples", copied, *sides, *words)
    assert outcome.code == 0 and "1 of 51" in outcome.err and "broken.png" in outcome.err
    split = json.loads((tmp_path / "run" / "plan.json").read_text())["split"]
    assert split["member"] + split["calibration_in"] == 50


def test_captions_number_the_rows_of_their_file(sides):
    from leakbench.data.caption_labels import collect_sidecars
    from leakbench.data.member_folders import list_image_files
    from leakbench.runtime.errors import UsageError

    names = [f"folder:{sides[1]}", f"folder:{sides[3]}"]
    files = [list_image_files(name, ()) for name in names]
    for folder, those in files:
        for name in those:
            (folder / name).with_suffix(".txt").write_text(f"{folder.name}  {name}\n")
    path = collect_sidecars(files)
    rows = list(csv.DictReader(path.read_text().split("\n")))
    data = registry.dataset(name_sides(*names, captions=str(path)))()
    told = [rows[label]["caption"] for label in data.labels]
    written = [f"{folder.name} {name}" for folder, those in files for name in those]
    assert told == [written[number] for number in data.index]
    (sides[1] / "000.txt").unlink()
    with pytest.raises(UsageError, match=r"members/000\.png: caption missing"):
        collect_sidecars(files)
    path.write_text("file,caption\nmembers/000.png,a\n")
    with pytest.raises(UsageError, match=r"caption missing for .*members/001\.png"):
        registry.dataset(name_sides(*names, captions=str(path)))()


def test_the_plan_trains_nothing_of_a_given_model(sides, pipeline, leakbench, tmp_path):
    """The model is loaded, and the untrained control is made: no cell trains."""
    words = [pipeline, *sides, "--attacks", "loss", *SMALL, "--out", tmp_path / "run", "--plan"]
    outcome = leakbench("audit", *words)
    assert outcome.code == 0
    numbered = [line.split(maxsplit=2) for line in outcome.out.splitlines()]
    cells = [words[1:] for words in numbered if words[0].isdigit() and words[1] != "cells"]
    assert [said for verb, said in cells if verb == "load"] == ["model, seed 0"]
    assert {verb for verb, _ in cells} == {"reader", "load", "make", "audit"}
    assert "(0 to train)" in outcome.out and "train model" not in outcome.out

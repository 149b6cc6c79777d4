"""The suite mode_collapse on a pipeline that is over-fitted here until one prompt returns one memorised image.

The settings (alpha 0.25, scale 100) were chosen on another pipeline, of seed 0; the 400 steps of the classifier, 10 of
the sampler and 320 of the pipeline were set for speed, with this one in sight. What is not held, because it did not
show on so small a model: that the classifier's direction does better than a push of the same length to nowhere, the
suite's `random-direction`; and that the gate opens on copies alone.
"""

import json

import numpy as np
import pytest
import torch

from leakbench.results.run_folder import RunFolder

PLAIN, PUSHED, PUBLISHED = "pipeline", "cpsample alpha=0.25 scale=100.0", "cpsample-published"
SIZES = ["sampler.steps=10", "sampler.batch=40", "quality.samples=40", "quality.features=pixels"]
SIZES += [
    f"defense.{one}.{size}"
    for one in ("cpsample", "cpsample-published", "random-direction")
    for size in ("steps=400", "batch=32")
]


@pytest.fixture(scope="module")
def home(pipelines, tmp_path_factory):
    """pipeline, images, captions.txt; and, from `run` on, cache and run."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("collapse")
    pipelines.collapsed(folder, seed=1)
    return folder


@pytest.fixture(scope="module")
def run(home, leakbench):
    """The suite, run by the command line."""
    given = [f"dataset=folder:{home}/images", f"defense.pipeline.path={home}/pipeline"]
    given += [f"defense.pipeline.captions={home}/captions.txt"]
    options = [word for value in (*given, *SIZES) for word in ("--set", value)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAKBENCH_CACHE", str(home / "cache"))
        words = ("run", "mode_collapse", "--out", home / "run", "--workers", 1, *options)
        done = leakbench(*words, formats=("md",))
    assert done.code == 0, done.err
    return RunFolder(home / "run")


def record(run, point, attack):
    return next(r for r in run.records if (r.point, r.attack) == (point, attack))


ATTACKS = ("nearest_copy_pixels", "nearest_copy_features")


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_prompt_returns_its_one_image(run, attack):
    found = record(run, PLAIN, attack)
    assert found.metric("copy_rate").value > 0.9 and found.metric("most_copied_share").ci_low > 0.5
    assert found.metric("copy_rate_excess").ci_low > 0.5, "held-out images are no copies"
    arrays = run.arrays(found)
    copied = arrays["nearest"][arrays["similarity"] >= found.info["threshold"]]
    assert set(copied.tolist()) == {0}, "the first image is the prompt's"


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_cpsample_ends_the_collapse_beyond_the_intervals(run, attack):
    plain, pushed = (record(run, point, attack) for point in (PLAIN, PUSHED))
    for name in ("copy_rate", "copy_rate_excess", "most_copied_share"):
        assert pushed.metric(name).ci_high < plain.metric(name).ci_low, name


@pytest.mark.slow
def test_its_classifier_memorised_latents_and_opens_the_gate_on_them(run, home):
    specs = [json.loads(path.read_text()) for path in (home / "cache").rglob("network.classifier.json")]
    assert [spec["shape"] for spec in specs] == [[4, 4, 4]], "trained once for all points, on 4x4x4 latents"
    told = record(run, PUSHED, "quality").info["defense"]
    sure = told["classifier_accuracy_by_t"]
    assert sure["member"][0] > 0.95 and abs(sure["heldout"][0] - 0.5) < 0.25  # 79 coins: 4.4 standard errors
    gate = [rate for t, rate in told["gate_rate_by_t"].items() if int(t) < 500]
    assert np.mean(gate) > 0.1


@pytest.mark.slow
def test_where_no_gate_opens_the_samples_are_the_pipelines(run):
    opened = any(record(run, PUBLISHED, "quality").info["defense"]["gate_rate_by_t"].values())
    similarity = [run.arrays(record(run, point, ATTACKS[0]))["similarity"] for point in (PLAIN, PUBLISHED)]
    assert np.array_equal(*similarity) == (not opened)


@pytest.mark.slow
def test_the_report_says_where_the_model_has_collapsed(run):
    report = (run.path / "report.md").read_text()
    said = next(line for line in report.splitlines() if line.startswith("**Mode collapse**"))
    assert "at: pipeline" in said and PUSHED not in said
    assert "**pipeline: handed in, not trained here.**" in report


@pytest.fixture(scope="module")
def unfinished(pipelines, tmp_path_factory):
    """Images, and a pipeline that knows nothing."""
    folder = tmp_path_factory.mktemp("unfinished")
    pipelines.untrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipelines.write_images(folder / "images", pipelines.fields(164))
    return folder


NO_HUB = "stable-diffusion-v1-5': no such folder, and the hub's files cannot be had"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "dataset 'folder:YOUR_IMAGES': no such folder"),
        (["dataset=folder:{0}/images"], NO_HUB),
        (["dataset=folder:{0}/images", "defense.pipeline.path={0}/pipeline"], "captions YOUR_PROMPTS.txt: cannot be"),
    ],
)
def test_what_was_not_given_is_one_line(given, words, unfinished, tmp_path, leakbench, monkeypatch):
    monkeypatch.setattr("leakbench.runtime.download.resource.is_offline", lambda: True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    options = [word for value in given for word in ("--set", value.format(unfinished))]
    outcome = leakbench("run", "mode_collapse", "--out", tmp_path / "run", *options)
    assert outcome.code == 2 and words in outcome.err and len(outcome.err.splitlines()) == 1

"""Every command of README and docs runs, in the order of its page: on small data, with suites cut to a few steps.

What a page takes for granted (a pipeline, folders of images, a finished `quick`) is made here. A command that needs a
download is run to the line that says so. The few that need another program are named in ELSEWHERE, with the test that
runs them.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leakbench.runtime import registry

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^ {4}(?:LEAKBENCH_CACHE=\w+ )?leakbench (.*)$", re.MULTILINE)
CUTS = {  # the settings of a suite that its time hangs on
    r"^seeds = .*": "seeds = [0]",
    r"^steps = \d+": "steps = 4",
    r"^samples = \d+": "samples = 60",
    r"^batch = \d{3,}": "batch = 60",  # of DP-SGD, which takes no more than all images
    r"^(members|nonmembers) = \d+": r"\1 = 60",
    r"^(calibration_\w+) = \d+": r"\1 = 20",
    r"^(\w+) = \[([-.\d]+),.*\]": r"\1 = [\2]",  # a sweep
}
QUICKER = ["quality.samples=20", "sampler.steps=4", "sampler.batch=32"]  # of an audit
CHOICES = {str(path.relative_to(ROOT)) for path in (ROOT / "benchmarks" / "standard").glob("*.toml")}
# long even when cut: planned
LONG = {"all_defenses", "attacks", "composition", "dp_public", "fine_tunes", "strongest", "board-digits-1", *CHOICES}
DOWNLOADS = {"cifar10", "medical"}
ELSEWHERE = {  # words of a command -> the test that runs such a one
    "--executor ray": "tests/leakbench/runner/test_ray.py",
    "--offline": "tests/leakbench/cli/test_fetch_command.py",
    "fetch weights": "tests/leakbench/cli/test_fetch_command.py",
    "fetch cifar10": "tests/leakbench/cli/test_fetch_command.py",
    "export runs/cifar10": "tests/leakbench/runner/test_export.py",
    "run mode_collapse": "tests/test_mode_collapse.py",
    "check counter": "tests/test_submit_page.py",
    "--checkpoints": "tests/leakbench/cli/test_audit_checkpoints.py",
    "dataset=olivetti": "tests/leakbench/data/test_faces.py",
    "dataset=lfw": "tests/leakbench/data/test_faces.py",
    "dataset=celeba": "tests/leakbench/data/test_named.py",
    "--endpoint": "tests/leakbench/interface/test_hosted_audit.py",
    "runs/before": "tests/defenses/test_unlearning_prompts.py",
    "runs/after": "tests/defenses/test_unlearning_prompts.py",
    "--lora": "tests/leakbench/cli/test_audit_fine_tunes.py",
    "--base": "tests/leakbench/measurement/test_reference.py",
}
BEFORE = {"docs/papers.md": [["run", "quick"]]}  # the page names points of that suite


def commands(page):
    """The words of each `leakbench` command in the code blocks of a page, in order."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for line in COMMAND.findall(text)]


def is_elsewhere(words):
    return any(which in " ".join(words) for which in ELSEWHERE)


def write_images(folder, levels):
    folder.mkdir()
    for number, level in enumerate(levels):
        Image.fromarray(level).save(folder / f"{number:03}.png")


def cut(suite):
    """The text of a suite, with few steps, samples, images and points."""
    for pattern, less in CUTS.items():
        suite = re.sub(pattern, less, suite, flags=re.MULTILINE)
    return suite


def blocks(page, language):
    """The fenced code blocks of a language on a page, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def write_plugins(home, page):
    """The plugins of a page as files of their names."""
    for block in blocks(page, "python"):
        for name in re.findall(r'^    name(?:, \w+)* = "(\w+)"', block, re.MULTILINE):
            (home / f"{name}.py").write_text(block)


def write_suite(home, page, words):
    """`my_suite.toml`: quick under that name, with those entries of the page whose plugins a command gives."""
    text = registry.suite_files()["quick"].read_text().replace('name = "quick"', 'name = "my_suite"')
    for block in blocks(page, "toml"):
        named = re.match(r'\[\[(?:attack|defense)\]\]\n(?:id = .*\n)?name = "(\w+)"', block)
        if named and f"{named[1]}.py" in words:
            text += "\n" + block
    (home / "my_suite.toml").write_text(text)


@pytest.fixture(scope="session")
def cut_suites(tmp_path_factory):
    """All suites by name, each cut to one seed and a few steps, samples and images."""
    folder, found = tmp_path_factory.mktemp("suites"), {}
    for name, path in registry.suite_files().items():
        found[name] = [folder / path.name]
        found[name][0].write_text(cut(path.read_text()))
    return found


@pytest.fixture
def home(cut_suites, hurried, pipelines, tmp_path, monkeypatch):
    """A folder with what the pages take for granted: a pipeline, images of its size on both sides, and its samples."""
    monkeypatch.setattr(registry, "_suites", lambda: cut_suites)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    pipelines.tiny().save_pretrained("my_pipeline")
    levels = np.random.default_rng(0).integers(0, 256, (400, 8, 8), dtype=np.uint8)
    for name, own in {"members": levels[:60], "nonmembers": levels[60:120], "generated": levels[120:180]}.items():
        write_images(home / name, own)
    for name, other in {"train": "members", "heldout": "nonmembers"}.items():
        shutil.copytree(home / other, home / name)
    write_images(home / "faces", levels)
    shutil.copytree("my_pipeline", "my_model")
    (home / "shards").mkdir()
    for archive, side in {"shards/0.tar": "members", "heldout.tar": "nonmembers"}.items():
        with tarfile.open(archive, "w") as packed:
            for image in sorted((home / side).iterdir()):
                packed.add(image, image.name)
    np.savez("mine.npz", images=levels, labels=np.arange(400) % 10)
    np.savez("xrays.npz", images=np.pad(levels, ((0, 0), (3, 3), (3, 3))), labels=np.arange(400) % 2)
    np.savez("cifar.npz", images=np.pad(levels, ((0, 0), (4, 4), (4, 4))))
    for path in CHOICES:
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(cut((ROOT / path).read_text()))
    shutil.copytree(ROOT / "docs" / "results", home / "docs" / "results")
    return home


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(not is_elsewhere(words) for words in commands(page))])
def test_the_commands_of_a_page_run_in_their_order(page, home, finished, trained, leakbench):
    asked = [*BEFORE.get(page, []), *(words for words in commands(page) if not is_elsewhere(words))]
    if ["run", "quick"] not in [words[:2] for words in asked]:
        for name in ("quick", "before", "after"):
            shutil.copytree(finished.out, home / "runs" / name)
    write_plugins(home, page)
    for words in asked:
        words, _, target = " ".join(words).partition(" > ")
        words = shlex.split(words)
        if words[0] == "audit":
            words += [word for setting in QUICKER for word in ("--set", setting)]
        if words[0] == "run" and words[1] in LONG and "--plan" not in words:
            words.append("--plan")
        if "my_suite.toml" in words:
            write_suite(home, page, words)
        done = leakbench(*words)
        if DOWNLOADS & set(words[:2]):
            assert done.code == 2 and "download" in done.err and done.err.count("\n") == 1, (words, done)
            continue
        assert done.code in (0, 3) if words[0] in ("run", "audit") else done.code == 0, (words, done)
        if target:
            (home / target).write_text(done.out)


def test_what_runs_elsewhere_is_tested_there():
    for which, test in ELSEWHERE.items():
        assert any(which in " ".join(words) for page in PAGES for words in commands(page)), f"no page has {which}"
        assert (ROOT / test).is_file()

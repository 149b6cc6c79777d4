"""A tiny suite on real digits, an isolated cache, and the command line in process."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import multiprocessing
import os
import random
import shutil
import string
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache as cache_of
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray reads this when it is imported: its nodes run in the environment of the tests, not in that of an `uv run` above.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")


@pytest.fixture(autouse=True, scope="session")
def quiet_phases():
    """On a loaded machine any phase may take long enough to say so, where a test expects no word."""
    from leakbench.runtime import progress

    progress.FIRST = 1e6


TINY = """
name = "tiny"
dataset = "digits"
seeds = [0]

[split]
members = 40
nonmembers = 40
calibration_in = 20
calibration_out = 20

[network]
width = 32
blocks = 1

[sampler]
steps = 5
batch = 64

[[defense]]
name = "baseline"
steps = 60
batch = 32
lr = 0.002

[[defense]]
name = "cpsample"
base = "baseline"
steps = 40
batch = 32
width = 32
blocks = 1
alpha = [0.25, 0.5]

[[attack]]
name = "loss"

[[attack]]
name = "pia"

[[attack]]
name = "nearest_copy"

[quality]
samples = 60
features = "classifier"
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Finished:
    """A finished run of the tiny suite, its cache, and what it printed."""

    suite: Path
    out: Path
    cache: Path
    outcome: Outcome


def _main(*words: object, formats: tuple[str, ...] = ("csv",)) -> Outcome:
    """`leakbench WORDS` in this process, as on a machine of one core, for workers take longer to start than what tests
    compute; of the reports, a run writes `formats`: figures take seconds."""
    from leakbench import cli
    from leakbench.runner import process, run_log

    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["leakbench", *map(str, words)])
        patch.setattr(run_log, "FORMATS", formats)
        patch.setattr(process, "cores", lambda: 1)
        patch.setenv("COLUMNS", "200")
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An artefact cache of the test's own; plugins that a test loads are forgotten after it."""
    from leakbench.runtime import registry
    from leakbench.runtime.device import batching

    monkeypatch.setattr(batching, "_FITTED", {})  # how much memory a test pretended to have
    monkeypatch.setenv("LEAKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LEAKBENCH_DEBUG", raising=False)
    monkeypatch.setattr(registry, "_loaded", {"attacks": {}, "defenses": {}})
    monkeypatch.setattr(registry, "_files", [])
    return tmp_path / "cache"


@pytest.fixture
def hurried(monkeypatch):
    """What attacks train by themselves takes at most 5 steps, where nothing depends on what is learnt."""
    from leakbench.attacks.membership import quantile
    from leakbench.attacks.replication import _clusters
    from leakbench.models import classifiers
    from leakbench.models.training.loop import train

    def few(network, loss, recipe, **more):
        return train(network, loss, replace(recipe, steps=min(5, recipe.steps)), **more)

    for module in (classifiers, quantile, _clusters):
        monkeypatch.setattr(module, "train", few)


@pytest.fixture(scope="session")
def remembered_divergences():
    """Opacus computes each Renyi divergence once, not once for RDP's epsilon and twice for PRV's grid."""
    from opacus.accountants.analysis import rdp

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rdp, "_compute_rdp", cache_of(rdp._compute_rdp))
        yield


@pytest.fixture(scope="session")
def pipelines():
    """tests/pipelines.py: tiny text-conditional pipelines that diffusers makes and saves."""
    pytest.importorskip("transformers")
    return _beside("pipelines")


@pytest.fixture(scope="session")
def planted_home(tmp_path_factory):
    """Folder of the pipeline; texts that attacks ask for are cached below it."""
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="session")
def planted_release(pipelines, planted_home):
    """The release, trained on captions 0 and 1 until they return their images, and parts: these two, twelve times each
    with noise of its own, and captions that it never saw."""
    import torch

    from leakbench.data.image_batch import Images
    from leakbench.defenses.pipeline import Pipeline
    from leakbench.models.pretrained.build import build, digest
    from leakbench.models.pretrained.release import PretrainedRelease
    from leakbench.runtime.device import Rng

    torch.set_num_threads(1)
    home, draw = planted_home, random.Random(0)
    texts = ["".join(draw.choices(string.ascii_lowercase + " ", k=9)).strip() for _ in range(192)]
    images = pipelines.planted(home, texts[:2], texts[92:], texts[2:92])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAKBENCH_CACHE", str(home / "cache"))
        options = Pipeline(path=str(home / "pipeline"), captions=str(home / "captions.txt")).options
        model = build(options, digest(options), torch.device("cpu"))
        more = {"device": torch.device("cpu"), "batch": 32, "codec": model.codec}
        release = PretrainedRelease(model.network, model.spec.schedule, Rng("words", 0), (4, 4, 4), **more)

        def part(first, rows):
            return Images(images[rows], torch.arange(first, first + len(rows)), rows)

        twice = torch.arange(24) % 2
        parts = {"member": part(0, twice), "nonmember": part(100, torch.arange(2, 42))}
        parts |= {"calibration_in": part(200, twice[:8]), "calibration_out": part(300, torch.arange(42, 66))}
        parts |= {"reference": part(400, torch.arange(66, 92))}
        return release, parts


@pytest.fixture(scope="session")
def whole_pipelines():
    """tests/whole_pipelines.py: tiny pipelines of many families."""
    pytest.importorskip("transformers")
    return _beside("whole_pipelines")


@pytest.fixture(scope="session")
def one_step():
    """tests/one_step.py: one step of a family's own pipeline."""
    return _beside("one_step")


@pytest.fixture(scope="session")
def hosting():
    """tests/hosted.py: a hosted model on this computer."""
    return _beside("hosted")


@pytest.fixture(scope="session")
def fine_tunes():
    """tests/fine_tunes.py: tiny bases, and LoRAs on them that know some pictures by heart."""
    return _beside("fine_tunes")


def _beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_text():
    """The tiny suite, as text."""
    return TINY


@pytest.fixture
def tiny(tmp_path):
    """The tiny suite, as a file of the test's own."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def leakbench():
    """leakbench(*words, formats=("csv",)): the command line in this process. Returns an Outcome."""
    return _main


@pytest.fixture
def shell(tmp_path):
    """shell(*words): the real command line in a process of its own. Returns an Outcome."""

    def run(*words, cwd=tmp_path, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "leakbench.cli", *map(str, words)],
            cwd=cwd,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def forkserver():
    """Starts processes that have already imported what a run needs: as a real one of its own, but for the seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["sklearn.datasets", "scipy.stats", "leakbench.runner.run", "leakbench.measurement.release_audit"]
    )
    return context


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """One whole run of the tiny suite by one worker, shared by all tests: read it, never write to it."""
    home = tmp_path_factory.mktemp("finished")
    (home / "tiny.toml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAKBENCH_CACHE", str(home / "cache"))
        words = ("run", home / "tiny.toml", "--out", home / "run", "--workers", 1)
        outcome = _main(*words, formats=("csv", "drawings", "md"))
    return Finished(home / "tiny.toml", home / "run", home / "cache", outcome)


@pytest.fixture
def trained(finished, cache):
    """The test's own cache holds what the tiny suite trains and draws."""
    shutil.copytree(finished.cache, cache)


@pytest.fixture
def again(finished, tmp_path, cache, tiny, trained):
    """A copy of the finished run with its cache, to be damaged."""
    shutil.copytree(finished.out, tmp_path / "run")
    return Finished(tiny, tmp_path / "run", cache, finished.outcome)

"""A release of a pipeline that memorised two captions, for attacks on words and on prompts."""

import random
import string

import pytest
import torch

from leakbench.data.image_batch import Images
from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained.build import build, digest
from leakbench.models.pretrained.release import PretrainedRelease
from leakbench.runtime.device import Rng

STREAMS = Rng("words", 0)
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def planted_home(tmp_path_factory):
    """Folder of the pipeline; texts that attacks ask for are cached below it."""
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="session")
def planted_release(pipelines, planted_home):
    """The release, trained on captions 0 and 1 until they return their images, and parts: these two, twelve times each
    with noise of its own, and captions that it never saw."""
    torch.set_num_threads(1)
    home, draw = planted_home, random.Random(0)
    texts = ["".join(draw.choices(string.ascii_lowercase + " ", k=9)).strip() for _ in range(192)]
    images = pipelines.planted(home, texts[:2], texts[92:], texts[2:92])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAKBENCH_CACHE", str(home / "cache"))
        options = Pipeline(path=str(home / "pipeline"), captions=str(home / "captions.txt")).options
        model = build(options, digest(options), CPU)
        more = {"batch": 32, "codec": model.codec}
        release = PretrainedRelease(model.network, model.spec.schedule, STREAMS, (4, 4, 4), CPU, **more)

        def part(first, rows):
            return Images(images[rows], torch.arange(first, first + len(rows)), rows)

        twice = torch.arange(24) % 2
        parts = {"member": part(0, twice), "nonmember": part(100, torch.arange(2, 42))}
        parts |= {"calibration_in": part(200, twice[:8]), "calibration_out": part(300, torch.arange(42, 66))}
        parts |= {"reference": part(400, torch.arange(66, 92))}
        return release, parts

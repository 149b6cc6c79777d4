"""What every built-in defense owes: killed in the middle it resumes to the same release, on CPU and on CUDA."""

from dataclasses import replace

import pytest
import torch

from leakbench.api import PretrainedModel
from leakbench.models.artefact_io import load_artefacts, save_artefacts
from leakbench.models.training import loop
from leakbench.runtime import registry
from leakbench.runtime.device import prepare
from leakbench.testing.defense import same_artefacts
from leakbench.testing.settings import defense_task

DEFENSES = [
    name for name in registry.names("defenses") if not issubclass(registry.find("defenses", name), PretrainedModel)
]
STEPS = 12
WATCHED = ("early_stop", "overfit")  # a watched training starts again
pytestmark = pytest.mark.usefixtures("remembered_divergences")  # a resumed training claims again


class Killed(Exception):
    pass


def made(name):
    """A short training of a defense, and the place where it has no objection to be."""
    kind = registry.find("defenses", name)
    short = {"steps": STEPS} if "steps" in kind.model_fields else {}
    return kind(**short), defense_task(kind(**short))


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Checkpoints every other step."""
    monkeypatch.setattr(loop, "_CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(loop, "_CHUNK", 2)


@pytest.mark.parametrize("name", DEFENSES)
def test_a_killed_training_resumes_to_the_same_weights_and_claims(name, tmp_path):
    defense, task = made(name)
    undisturbed = defense.fit(task)
    told = []

    def kill(share):
        told.append(share)
        if share > 0.5:
            raise Killed

    killed = replace(task, folder=tmp_path / "checkpoints", progress=kill)
    if "steps" in type(defense).model_fields:
        with pytest.raises(Killed):
            defense.fit(killed)
        if name not in WATCHED:
            assert list(tmp_path.rglob("*.safetensors"))
    again = []
    resumed = defense.fit(replace(killed, progress=again.append))
    assert same_artefacts(resumed, undisturbed)
    if told and name not in (*WATCHED, "attribute_switching"):
        assert min(again) > 0.5, "it started again"
    one, other = (defense.release(kept, task) for kept in (resumed, undisturbed))
    assert one.guarantee == other.guarantee and torch.equal(one.sample(3), other.sample(3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", DEFENSES)
def test_it_fits_and_samples_on_cuda(name, tmp_path):
    defense, task = made(name)
    device = torch.device("cuda")
    prepare(device)
    base = task.base and replace(task.base, device=device, network=task.base.network.to(device))
    task = replace(task, device=device, base=base)
    save_artefacts(defense.fit(task), tmp_path)
    release = defense.release(load_artefacts(tmp_path, device), task)
    images = release.sample(5)
    assert images.shape == (5, 1, 8, 8) and bool(torch.isfinite(images).all()) and bool((images.abs() <= 1).all())

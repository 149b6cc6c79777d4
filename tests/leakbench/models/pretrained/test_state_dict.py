"""One file of weights with its settings: the network of the loop that saved it, its moving average where it has one."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained.build import build
from leakbench.runtime.cache.keys import digest_files
from leakbench.runtime.errors import UsageError

X, T = torch.linspace(-1, 1, 2 * 256).view(2, 1, 16, 16), torch.tensor([3, 700])


def loaded(path, **more):
    defense = Pipeline(path=str(path), **({"prediction": "epsilon"} | more))
    return build(defense.options, digest_files(defense.files()), torch.device("cpu"))


@pytest.fixture(scope="module")
def network(ddpm):
    from diffusers import UNet2DModel

    return UNet2DModel.from_pretrained(ddpm / "unet")


@pytest.fixture
def home(ddpm, tmp_path):
    """A folder with the settings alone."""
    shutil.copy(ddpm / "unet/config.json", tmp_path / "config.json")
    return tmp_path


def prefixed(prefix, tensors):
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def saves(network):
    """What training loops save, and which of it is audited: True for the moving average."""
    plain = network.state_dict()
    average = {name: value * 0.9 for name, value in plain.items()}
    optimizer = torch.optim.Adam(network.parameters()).state_dict()
    named = prefixed("module", plain)
    return {
        "bare": (plain, False, ""),
        "ddp": ({"model": named, "optimizer": optimizer, "step": 5}, False, "[model], no moving average"),
        "compiled": ({"state_dict": prefixed("_orig_mod", plain)}, False, "[state_dict]"),
        "both": ({"model": plain, "ema": average, "step": 5}, True, "[ema], the moving average (EMA)"),
        "lucidrains": (
            {"ema": prefixed("ema_model", average) | prefixed("online_model", plain), "opt": optimizer},
            True,
            "[ema], the moving average (EMA)",
        ),
        "ddim authors": ([named, optimizer, 3, 5, average], True, "[ema], the moving average (EMA)"),
        "a list": (
            {"model": named, "ema": {"shadow_params": list(average.values()), "decay": 0.99}},
            True,
            "[ema][shadow_params], the moving average (EMA)",
        ),
        "a list alone": (
            {"shadow_params": list(average.values()), "optimization_step": 5},
            True,
            "the moving average (EMA), a list in the order of the network's parameters",
        ),
        "a list of others": (
            {"model": plain, "ema": {"shadow_params": list(average.values())[::-1], "decay": 0.99}},
            False,
            "is kept without names, and is not read",
        ),
    }


def test_what_training_loops_save_is_read(network, home):
    """All of them in one test: the network is built for each."""
    with torch.no_grad():
        expected = network(X, T).sample
    for title, (saved, average, said) in saves(network).items():
        file = home / f"{title}.pt"
        torch.save(saved, file)
        found = loaded(file)
        assert torch.allclose(found.network(X, T), expected, atol=1e-6) != average, title
        weight, there = (next(one.parameters()) for one in (found.network.body, network))
        assert torch.equal(weight, there * 0.9 if average else there), title
        assert said in found.facts["read"] and "settings of config.json" in found.facts["read"], title


def test_settings_are_given_or_lie_beside(network, ddpm, tmp_path):
    file = tmp_path / "last.safetensors"
    save_file(network.state_dict(), file)
    with pytest.raises(UsageError, match="weights without settings") as caught:
        loaded(file)
    assert "\n" not in str(caught.value)
    whole = loaded(file, config=str(ddpm), prediction=None)  # the scheduler is the pipeline's
    bare = loaded(file, config=str(ddpm / "unet/config.json"))
    assert torch.equal(whole.network(X, T), bare.network(X, T))
    with pytest.raises(UsageError, match="say prediction = epsilon"):
        loaded(file, config=str(ddpm / "unet"), prediction=None)
    with pytest.raises(UsageError, match="should be a folder that save_pretrained wrote"):
        loaded(file, config="nowhere")
    with pytest.raises(UsageError, match="is no single file of weights"):
        loaded(ddpm, config=str(ddpm))


def test_a_changed_setting_or_weight_is_another_model(network, home):
    file = home / "last.pt"
    torch.save(network.state_dict(), file)
    first = digest_files(Pipeline(path=str(file)).files())
    table = json.loads((home / "config.json").read_text())
    (home / "config.json").write_text(json.dumps(table | {"dropout": 0.5}))
    assert digest_files(Pipeline(path=str(file)).files()) != first


def test_missing_weights_and_programs_are_refused(network, home):
    tensors = network.state_dict()
    gone = next(iter(tensors))
    torch.save({name: value for name, value in tensors.items() if name != gone}, home / "part.pt")
    with pytest.raises(UsageError, match=r"part.pt: 1 weights are missing .* 'conv_in"):
        loaded(home / "part.pt")
    torch.save({"model": tensors, "loop": print}, home / "program.pt")
    with pytest.raises(UsageError, match="can run any program"):
        loaded(home / "program.pt")
    torch.save({"shadow_params": list(tensors.values())[1:]}, home / "part.pt")
    with pytest.raises(UsageError, match=r"part.pt: its \d+ weights without names are not"):
        loaded(home / "part.pt")
    torch.save({"step": 3}, home / "empty.pt")
    with pytest.raises(UsageError, match="holds no tensors by name"):
        loaded(home / "empty.pt")

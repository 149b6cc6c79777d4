"""Code of a model's own that its user trusts: what it read counts, its classes are asked, its errors are one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from leakbench.defenses.pipeline import Pipeline
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import fit_key, release_key
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.models.pretrained.adapter import load_adapter
from leakbench.models.pretrained.build import build, digest
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

X, T = torch.linspace(-1, 1, 2 * 256).view(2, 1, 16, 16), torch.tensor([3, 700])

ADAPTER = """
import torch
class Scaled(torch.nn.Module):
    def __init__(self, scale, shift):
        super().__init__()
        self.scale = torch.nn.Parameter(scale)
        self.register_buffer("shift", shift, persistent=False)
    def forward(self, x, t):
        return x * self.scale + self.shift
def model():
    return Scaled(*torch.load({weights!r})), {{"shape": (1, 16, 16)}}
"""

SUITE = """
name = "given"
dataset = "npz:{data}"
[sampler]
steps = 2
batch = 8
[quality]
samples = 20
features = "pixels"
[[defense]]
name = "pipeline"
path = "module:{file}:model"
trust_code = true
[[defense]]
name = "amg"
base = "pipeline"
"""


@pytest.fixture
def read(tmp_path):
    """read(scale, shift): fit key, release key and model_sha256 of an adapter that reads these from a file, as a new
    process would find them."""
    file, weights = tmp_path / "mine.py", tmp_path / "w.pt"
    file.write_text(ADAPTER.format(weights=str(weights)))
    images = np.random.default_rng(0).integers(0, 256, (120, 16, 16, 1), dtype=np.uint8)
    parts = np.repeat(["member", "nonmember", "calibration_in", "calibration_out", "reference"], 24)
    np.savez(tmp_path / "data.npz", images=images, split=parts)
    (tmp_path / "suite.toml").write_text(SUITE.format(data=tmp_path / "data.npz", file=file))

    def found(scale, shift):
        torch.save((torch.tensor(scale), torch.tensor(shift)), weights)
        load_adapter.cache_clear()
        build.cache_clear()
        builder = ReleaseBuilder(
            RunInputs(load(str(tmp_path / "suite.toml")), RunConfig(tmp_path / "run", tmp_path / "cache"))
        )
        model, above = builder.inputs.suite.points
        release = builder.build_release(model.chain, 0)
        keys = (
            fit_key(builder.inputs, model.chain, 0),
            release_key(builder.inputs, model.chain, 0),
            release_key(builder.inputs, above.chain, 0),
        )
        return *keys, release.info["model_sha256"]

    return found


def test_weights_that_an_adapter_reads_are_part_of_every_key(read):
    first = read([0.5], [0.0])
    assert read([0.5], [0.0]) == first and all(len(one) == 40 for one in first)
    for other in (read([0.6], [0.0]), read([0.5], [0.1]), read([[0.5]], [0.0])):
        assert all(mine != theirs for mine, theirs in zip(first, other, strict=True))


NETWORK = """
from diffusers import ModelMixin, ConfigMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
import torch
class Derived(UNet2DModel):
    pass
class Own(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, {arguments}):
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 1, 1)
    def forward(self, x, t):
        return (self.layer(x),)
"""
PIPELINE = """
from diffusers import DDPMPipeline
class Mine(DDPMPipeline):
    pass
"""


@pytest.fixture
def own(ddpm, tmp_path):
    """own(kind, arguments): a pipeline whose network is of a class in unet/modeling.py."""

    def make(kind, arguments="sample_size=16, in_channels=1"):
        folder = Path(shutil.copytree(ddpm, tmp_path / kind, dirs_exist_ok=True))
        (folder / "pipeline.py").write_text(PIPELINE)
        (folder / "unet" / "modeling.py").write_text(NETWORK.format(arguments=arguments))
        index = json.loads((folder / "model_index.json").read_text())
        index |= {"_class_name": ["pipeline", "Mine"], "unet": ["modeling", kind]}
        (folder / "model_index.json").write_text(json.dumps(index))
        if kind == "Own":
            space: dict = {}
            exec((folder / "unet" / "modeling.py").read_text(), space)
            with torch.random.fork_rng():
                torch.manual_seed(1)
                shutil.rmtree(folder / "unet")
                space["Own"]().save_pretrained(folder / "unet")
            (folder / "unet" / "modeling.py").write_text(NETWORK.format(arguments=arguments))
        return folder

    return make


def network(folder):
    options = Pipeline(path=str(folder), trust_code=True).options
    return build(options, digest(options), torch.device("cpu")).network


def test_a_network_class_that_derives_from_a_known_one(own, ddpm):
    from diffusers import UNet2DModel

    with torch.no_grad():
        expected = UNet2DModel.from_pretrained(ddpm / "unet")(X, T).sample
        assert torch.allclose(network(own("Derived"))(X, T), expected, atol=1e-6)


def test_a_network_class_of_its_own_takes_settings_from_its_defaults(own):
    from safetensors.torch import load_file

    folder = own("Own")
    weights = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    config = json.loads((folder / "unet" / "config.json").read_text())
    config.pop("in_channels")  # said by the class alone
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    with torch.no_grad():
        found = network(folder)(X, T)
    assert torch.allclose(found, X * weights["layer.weight"].view(()) + weights["layer.bias"], atol=1e-6)


def test_a_network_class_that_says_too_little_is_one_line(own):
    with pytest.raises(
        UsageError, match="Own, a class of its own, does not say its in_channels; write an adapter"
    ) as e:
        network(own("Own", "sample_size=16"))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("said", ["one", ""])
def test_an_error_in_trusted_code_is_one_line(own, said):
    folder = own("Derived")
    (folder / "pipeline.py").write_text(f"raise ValueError({said!r} + '\\nand more')\n")
    with pytest.raises(UsageError) as caught:
        Pipeline(path=str(folder), trust_code=True).spec()
    words = str(caught.value)
    assert words.startswith(f"{folder}: the model's own code fails: ") and "ValueError" in words and "\n" not in words

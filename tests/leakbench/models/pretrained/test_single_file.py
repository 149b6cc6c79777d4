"""A single file of Stable Diffusion by its authors' names is the network that diffusers has under its own."""

import re

import pytest
import torch
from safetensors.torch import save_file

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained.build import build, read_spec
from leakbench.runtime.cache.keys import digest_files
from leakbench.runtime.errors import UsageError

# The blocks of the tiny UNet (two levels of one layer, attention in the first) in the authors' numbering.
BLOCKS = {
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.attentions.0": "input_blocks.1.1",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.attentions.0": "output_blocks.2.1",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "up_blocks.1.attentions.1": "output_blocks.3.1",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
}
LAYERS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def authors_name(name):
    block = next(one for one in BLOCKS if re.match(re.escape(one) + r"\.", name))
    rest = name.removeprefix(block)
    if "resnets" in block:
        layer = rest.split(".")[1]
        rest = rest.replace(layer, LAYERS[layer], 1)
    return f"model.diffusion_model.{BLOCKS[block]}{rest}"


def loaded(path, **more):
    defense = Pipeline(path=str(path), **more)
    defense.spec()
    return build(defense.options, digest_files(defense.files()), torch.device("cpu"))


def test_a_file_by_its_authors_names_is_diffusers_network(stable_diffusion, captions, tmp_path):
    pipeline, folder = stable_diffusion
    plain = {authors_name(name): value.clone() for name, value in pipeline.unet.state_dict().items()}
    file = tmp_path / "model.safetensors"
    save_file(plain, file)
    found = loaded(file, config=str(folder), captions=str(captions))
    for name, value in pipeline.unet.state_dict().items():
        assert torch.equal(found.network.body.state_dict()[name], value), name
    assert "no moving average" in found.facts["read"] and "autoencoder and text encoders too" in found.facts["read"]
    average = {"model_ema." + name.removeprefix("model.").replace(".", ""): 2 * one for name, one in plain.items()}
    torch.save({"state_dict": plain | average}, tmp_path / "model.ckpt")
    found = loaded(tmp_path / "model.ckpt", config=str(folder), captions=str(captions))
    assert torch.equal(found.network.body.conv_in.weight, 2 * pipeline.unet.conv_in.weight)
    assert "the moving average (EMA)" in found.facts["read"]


def test_what_is_not_that_network_is_one_line(stable_diffusion, captions, tmp_path, monkeypatch):
    pipeline, folder = stable_diffusion
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    plain = {authors_name(name): value.clone() for name, value in pipeline.unet.state_dict().items()}
    file = tmp_path / "model.safetensors"
    save_file(plain, file)

    def refused(**more):
        with pytest.raises(UsageError) as caught:
            read_spec(Pipeline(path=str(file), **more).options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "names of stable-diffusion-v1-5/stable-diffusion-v1-5" in refused()
    plain.pop("model.diffusion_model.out.2.bias")
    save_file(plain, file)
    assert "model.safetensors: " in refused(config=str(folder), captions=str(captions))
    save_file({"strange": torch.zeros(2)}, file)
    assert "weights are missing" in refused(config=str(folder), captions=str(captions))
    assert "names of" not in refused()

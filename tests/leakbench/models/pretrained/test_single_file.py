"""A single file by its authors' names is the network that diffusers has under its own: of Stable Diffusion 1 and XL,
SD3 and FLUX.1."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained.build import build, read_spec
from leakbench.models.pretrained.layouts.single_file import to_diffusers_names
from leakbench.models.pretrained.weights import outline_model
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
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
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


def numbered(kind, config):
    """A tensor for each of a network's weights, of as many rows and one column, in which every row is another."""
    shapes = {name: len(value) for name, value in outline_model(kind, config).state_dict().items()}
    return {name: torch.randn(rows, 1) for name, rows in shapes.items()}


def joined(tensors, kind, places):
    """One weight of the authors out of several of diffusers."""
    return torch.cat([tensors[f"{place}.{kind}"] for place in places])


def swapped(value):
    return torch.cat(value.chunk(2)[::-1])


def of_sd3(tensors):
    """By the names of SD3's authors: one matrix of queries, keys and values, and shift before scale at the end."""
    block, found = "transformer_blocks.0", {"pos_embed": tensors["pos_embed.pos_embed"]}
    ends = {
        "x_embedder.proj": "pos_embed.proj",
        "context_embedder": "context_embedder",
        "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
        "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
        "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
        "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
        "final_layer.linear": "proj_out",
        "joint_blocks.0.x_block.adaLN_modulation.1": f"{block}.norm1.linear",
        "joint_blocks.0.x_block.attn.proj": f"{block}.attn.to_out.0",
        "joint_blocks.0.x_block.mlp.fc1": f"{block}.ff.net.0.proj",
        "joint_blocks.0.x_block.mlp.fc2": f"{block}.ff.net.2",
    }
    for kind in ("weight", "bias"):
        found |= {f"{theirs}.{kind}": tensors[f"{name}.{kind}"] for theirs, name in ends.items()}
        for side, form in {"x_block": "to_{}", "context_block": "add_{}_proj"}.items():
            places = [f"{block}.attn.{form.format(one)}" for one in "qkv"]
            found[f"joint_blocks.0.{side}.attn.qkv.{kind}"] = joined(tensors, kind, places)
        last = {"joint_blocks.0.context_block": f"{block}.norm1_context.linear", "final_layer": "norm_out.linear"}
        found |= {f"{a}.adaLN_modulation.1.{kind}": swapped(tensors[f"{b}.{kind}"]) for a, b in last.items()}
    return found


def of_flux(tensors):
    """By the names of FLUX.1's authors."""
    block, single, found = "transformer_blocks.0", "single_transformer_blocks.0", {}
    ends = {
        "img_in": "x_embedder",
        "txt_in": "context_embedder",
        "final_layer.linear": "proj_out",
        "single_blocks.0.modulation.lin": f"{single}.norm.linear",
        "single_blocks.0.linear2": f"{single}.proj_out",
    }
    told = {"time_in": "timestep_embedder", "vector_in": "text_embedder", "guidance_in": "guidance_embedder"}
    for theirs, name in told.items():
        ends[f"{theirs}.in_layer"] = f"time_text_embed.{name}.linear_1"
        ends[f"{theirs}.out_layer"] = f"time_text_embed.{name}.linear_2"
    sides = {"img": ("norm1", "ff", "attn.to_out.0"), "txt": ("norm1_context", "ff_context", "attn.to_add_out")}
    for side, (norm, mlp, out) in sides.items():
        inside = {"mod.lin": f"{norm}.linear", "mlp.0": f"{mlp}.net.0.proj", "mlp.2": f"{mlp}.net.2", "attn.proj": out}
        ends |= {f"double_blocks.0.{side}_{a}": f"{block}.{b}" for a, b in inside.items()}
    for kind in ("weight", "bias"):
        found |= {f"{theirs}.{kind}": tensors[f"{name}.{kind}"] for theirs, name in ends.items()}
        for side, form in {"img": "to_{}", "txt": "add_{}_proj"}.items():
            places = [f"{block}.attn.{form.format(one)}" for one in "qkv"]
            found[f"double_blocks.0.{side}_attn.qkv.{kind}"] = joined(tensors, kind, places)
        places = [*(f"{single}.attn.to_{one}" for one in "qkv"), f"{single}.proj_mlp"]
        found[f"single_blocks.0.linear1.{kind}"] = joined(tensors, kind, places)
        found[f"final_layer.adaLN_modulation.1.{kind}"] = swapped(tensors[f"norm_out.linear.{kind}"])
    for theirs, one in {"query": "q", "key": "k"}.items():
        found[f"double_blocks.0.img_attn.norm.{theirs}_norm.scale"] = tensors[f"{block}.attn.norm_{one}.weight"]
        found[f"double_blocks.0.txt_attn.norm.{theirs}_norm.scale"] = tensors[f"{block}.attn.norm_added_{one}.weight"]
        found[f"single_blocks.0.norm.{theirs}_norm.scale"] = tensors[f"{single}.attn.norm_{one}.weight"]
    return found


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_flux_by_its_authors_names(prefix):
    """Its conversion holds at the width of the real network alone, 3,072, of which this has every row."""
    from diffusers import FluxTransformer2DModel

    config = {"num_layers": 1, "num_single_layers": 1, "guidance_embeds": True}
    plain = numbered(FluxTransformer2DModel, config)
    given = {prefix + name: value for name, value in of_flux(plain).items()}
    found = to_diffusers_names(FluxTransformer2DModel, config, given, set(plain), Path("flux.safetensors"))
    assert found.keys() == plain.keys()
    assert all(torch.equal(found[name], value) for name, value in plain.items())


@pytest.mark.parametrize("name", ["SD3", "SDXL"])
def test_a_file_of_a_family_is_its_network(pipelines, whole_pipelines, captions, tmp_path, name):
    pipeline = whole_pipelines.make(name, pipelines.tokenizer(tmp_path / "words"))
    pipeline.save_pretrained(tmp_path / "whole")
    body = pipeline.unet if name == "SDXL" else pipeline.transformer
    plain = {key: value.clone() for key, value in body.state_dict().items()}
    theirs = of_sd3(plain) if name == "SD3" else {authors_name(key): value for key, value in plain.items()}
    save_file(theirs, tmp_path / "model.safetensors")
    found = loaded(tmp_path / "model.safetensors", config=str(tmp_path / "whole"), captions=str(captions))
    for key, value in found.network.body.state_dict().items():
        assert torch.equal(plain[key], value), key

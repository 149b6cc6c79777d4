"""Damaged and missing weights are found by a plan, and before a run computes anything."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from leakbench.models.pretrained.build import read_spec
from leakbench.models.pretrained.header_check import check_files, knows_all
from leakbench.models.pretrained.inspect import Options, inspect_folder
from leakbench.models.pretrained.settings import read_header_spec
from leakbench.models.pretrained.unet_parameters import list_unet_parameters
from leakbench.runtime.errors import UsageError

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(ddpm, tmp_path):
    return Path(shutil.copytree(ddpm, tmp_path / "copy"))


def said(folder, **more):
    """One line, the same of a plan by headers and of a run."""
    found = []
    for read in (read_header_spec, read_spec):
        with pytest.raises(UsageError) as caught:
            read(Options(str(folder), **more))
        found.append(str(caught.value))
    assert found[0] == found[1] and "\n" not in found[0]
    return found[0]


def rewrite(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def test_missing_unknown_and_misshapen_weights_are_found(copy):
    file = copy / WEIGHTS
    assert read_header_spec(Options(str(copy))).images == read_spec(Options(str(copy))).images
    rewrite(file, lambda tensors: tensors.update(extra=torch.zeros(2)))
    assert "1 weights that a UNet2DModel of these settings has not, such as 'extra'" in said(copy)
    rewrite(file, lambda tensors: (tensors.pop("extra"), tensors.update({"conv_in.bias": torch.zeros(3)})))
    assert "1 weights are missing or of another shape, such as 'conv_in.bias'" in said(copy)
    rewrite(file, lambda tensors: tensors.pop("conv_in.bias"))
    assert "such as 'conv_in.bias'" in said(copy)
    file.write_bytes(file.read_bytes()[:-10])
    assert "cut off" in said(copy)
    file.unlink()
    assert "no weights" in said(copy)


def test_headers_and_settings_that_are_none_are_one_line(copy):
    file, config = copy / WEIGHTS, copy / "unet/config.json"
    whole = file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    for offsets in (None, [], [0, "many"], 7):
        header["conv_in.bias"]["data_offsets"] = offsets
        changed = json.dumps(header).encode()
        file.write_bytes(len(changed).to_bytes(8, "little") + changed + whole[8 + length :])
        with pytest.raises(UsageError, match=r"not a safetensors file: a tensor's data_offsets are no two numbers$"):
            check_files(inspect_folder(str(copy), trust_code=False))
    file.write_bytes(whole)
    config.write_text(json.dumps(json.loads(config.read_text()) | {"block_out_channels": []}))
    for check in (check_files, knows_all):
        with pytest.raises(UsageError, match="its settings are not those of such a model"):
            check(inspect_folder(str(copy), trust_code=False))


def test_parts_of_a_latent_model_are_checked_as_well(stable_diffusion, captions, tmp_path):
    copy = Path(shutil.copytree(stable_diffusion[1], tmp_path / "copy"))
    told = {"captions": str(captions)}
    vae = copy / "vae/diffusion_pytorch_model.safetensors"
    whole = vae.read_bytes()
    rewrite(vae, lambda tensors: tensors.pop("quant_conv.bias"))
    assert "vae: 1 weights are missing" in said(copy, **told)
    vae.write_bytes(whole)
    encoder = next((copy / "text_encoder").glob("*.safetensors"))
    encoder.write_bytes(encoder.read_bytes()[:-10])
    assert "text_encoder" in said(copy, **told) and "cut off" in said(copy, **told)
    shutil.rmtree(copy / "tokenizer")
    encoder.unlink()
    assert "text_encoder: no weights" in said(copy, **told)


def test_a_shard_that_lacks_what_its_index_names(copy):
    file = copy / WEIGHTS
    tensors = load_file(file)
    file.rename(file.with_name("diffusion_pytorch_model-00001-of-00001.safetensors"))
    index = file.with_name(file.name + ".index.json")
    table = {name: "diffusion_pytorch_model-00001-of-00001.safetensors" for name in [*tensors, "more"]}
    index.write_text(json.dumps({"weight_map": table}))
    assert "without 'more', which diffusion_pytorch_model.safetensors.index.json names" in said(copy)
    index.write_text(json.dumps({"weight_map": {name: "gone.safetensors" for name in tensors}}))
    assert "gone.safetensors: missing" in said(copy)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"layers_per_block": 2, "num_class_embeds": 7, "add_attention": False},
        {"downsample_type": "resnet", "upsample_type": "resnet", "resnet_time_scale_shift": "scale_shift"},
        {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 4},
        {"attention_head_dim": 4, "block_out_channels": (8, 8), "out_channels": 2, "time_embedding_dim": 24},
        {"down_block_types": ("AttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "AttnUpBlock2D")},
    ],
)
def test_the_parameters_of_a_unet_by_rule_are_diffusers(ddpm, more):
    from diffusers import UNet2DModel

    config = json.loads((ddpm / "unet/config.json").read_text()) | more
    with torch.device("meta"):
        network = UNet2DModel.from_config(config)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert list_unet_parameters(dict(network.config)) == expected


@pytest.mark.parametrize(
    "more", [{"time_embedding_type": "fourier"}, {"attention_head_dim": 3}, {"mid_block_type": "X"}]
)
def test_other_unets_are_not_known_by_rule(ddpm, more):
    config = json.loads((ddpm / "unet/config.json").read_text())
    assert list_unet_parameters(config | more) is None

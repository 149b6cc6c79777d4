"""U-Nets of the DDIM authors' repository (Song et al. 2021, 2010.02502), Ho et al.'s network in PyTorch, as diffusers'
UNet2DModel: their YAML settings to its own, their names of weights to its names.

Its time is told as sines before cosines, divided by one step less, and an image is padded at the right and bottom alone
before it is halved: UNet2DModel has a setting for each, and none of the three shows in names or shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from leakbench.models.pretrained.bad_settings import read_whole
from leakbench.runtime.errors import UsageError

_RENAMED = (
    (r"^temb\.dense\.0\.", "time_embedding.linear_1."),
    (r"^temb\.dense\.1\.", "time_embedding.linear_2."),
    (r"^norm_out\.", "conv_norm_out."),
    (r"^mid\.block_1\.", "mid_block.resnets.0."),
    (r"^mid\.attn_1\.", "mid_block.attentions.0."),
    (r"^mid\.block_2\.", "mid_block.resnets.1."),
    (r"\.block\.(\d+)\.", r".resnets.\1."),
    (r"\.attn\.(\d+)\.", r".attentions.\1."),
    (r"\.downsample\.(conv|op)\.", ".downsamplers.0.conv."),
    (r"\.upsample\.conv\.", ".upsamplers.0.conv."),
    (r"\.temb_proj\.", ".time_emb_proj."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
)
_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def read_config(table: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Settings of the UNet2DModel and of the scheduler of a YAML file of theirs; None of another table. Raises
    UsageError for settings that no UNet2DModel can follow."""
    model, data, noise = (table.get(key) for key in ("model", "data", "diffusion"))
    if not isinstance(model, Mapping) or not {"ch", "ch_mult", "num_res_blocks"} <= set(model):
        return None
    if not isinstance(data, Mapping) or not isinstance(noise, Mapping):
        raise UsageError(f"{where}: without its sections data and diffusion")
    if not model.get("resamp_with_conv", True) or data.get("logit_transform") or not data.get("rescaled", True):
        raise UsageError(f"{where}: only resamp_with_conv, without logit_transform and with rescaled images, is known")
    side, first = read_whole(data, "image_size", where), read_whole(model, "ch", where)
    widths = [int(first * multiple) for multiple in model["ch_mult"]]
    attends = [side // 2**level in model.get("attn_resolutions", ()) for level in range(len(widths))]
    config = {
        "_class_name": "UNet2DModel",
        "sample_size": side,
        "in_channels": read_whole(model, "in_channels", where),
        "out_channels": read_whole(model, "out_ch", where),
        "block_out_channels": widths,
        "layers_per_block": read_whole(model, "num_res_blocks", where),
        "down_block_types": ["AttnDownBlock2D" if one else "DownBlock2D" for one in attends],
        "up_block_types": ["AttnUpBlock2D" if one else "UpBlock2D" for one in reversed(attends)],
        "downsample_type": "conv",
        "upsample_type": "conv",
        "attention_head_dim": None,
        "norm_num_groups": 32,
        "norm_eps": 1e-6,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "downsample_padding": 0,
        "resnet_time_scale_shift": "default",
        "class_embed_type": None,
        "time_embedding_type": "positional",
        "mid_block_type": "UNetMidBlock2D",
    }
    if noise.get("beta_schedule") != "linear":
        raise UsageError(f"{where}: beta_schedule = {noise.get('beta_schedule')!r}: it should be linear")
    scheduler = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": read_whole(noise, "num_diffusion_timesteps", where),
        "beta_start": float(noise["beta_start"]),
        "beta_end": float(noise["beta_end"]),
        "beta_schedule": "linear",
        "prediction_type": "epsilon",
    }
    return config, scheduler


def is_named_so(names: Any) -> bool:
    """Tell whether weights have the DDIM authors' names."""
    return "temb.dense.0.weight" in names


def convert(tensors: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors by the names of a UNet2DModel of these settings; those that it has no place for as they are."""
    last = len(config["block_out_channels"]) - 1
    found = {}
    for name, value in tensors.items():
        known = re.match(r"(down|up)\.(\d+)\.", name)
        if known:
            level = int(known[2]) if known[1] == "down" else last - int(known[2])
            name = f"{known[1]}_blocks.{level}.{name[known.end() :]}"
        for pattern, there in _RENAMED:
            name = re.sub(pattern, there, name)
        attention = re.search(r"attentions\.\d+\.(\w+)\.(weight|bias)$", name)
        if attention and attention[1] in _ATTENTION:
            name = f"{name[: attention.start(1)]}{_ATTENTION[attention[1]]}.{attention[2]}"
            value = value.flatten(1) if value.ndim == 4 else value
        found[name] = value
    return found

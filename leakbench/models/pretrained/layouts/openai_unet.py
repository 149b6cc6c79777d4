"""U-Nets of OpenAI's improved-diffusion and guided-diffusion (Nichol and Dhariwal 2021, 2102.09672; Dhariwal and Nichol
2021, 2105.05233) as diffusers' UNet2DModel: their flags to its settings, their names of weights to its names.

The flags are those of their scripts (`num_channels`, `channel_mult`, `attention_resolutions`, ...), as a table; what it
leaves out has guided-diffusion's default. The queries, keys and values of an attention are one matrix, whose rows go by
head first and then by which of the three, or, with `use_new_attention_order`, by which of the three and then by head:
weights in the wrong order load as well, and give another network, so the flag has to be right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from leakbench.models.pretrained.bad_settings import read_whole
from leakbench.models.pretrained.schedulers import TIME_UNITS
from leakbench.runtime.errors import UsageError

ORDER = "_qkv_by_kind"  # among a UNet2DModel's settings here: the rows of qkv go by query, key, value first
_MULTIPLES = {512: (0.5, 1, 1, 2, 2, 4, 4), 256: (1, 1, 2, 2, 4, 4), 128: (1, 1, 2, 3, 4), 64: (1, 2, 3, 4)}
_MULTIPLES[32] = (1, 2, 2, 2)
_CLASSES = 1000  # of ImageNet, which both repositories were written for
_LAYERS = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ATTENTION = {"norm": "group_norm", "proj_out": "to_out.0"}
_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb": "class_embedding",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def read_flags(table: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Settings of the UNet2DModel and of the scheduler that flags ask for; None of a table that holds no such flags.
    Raises UsageError for flags that no UNet2DModel can follow."""
    if not {"image_size", "num_channels", "num_res_blocks"} <= set(table):
        return None
    side, width = read_whole(table, "image_size", where), read_whole(table, "num_channels", where)
    widths = [int(width * multiple) for multiple in _numbers(table.get("channel_mult")) or _usual(side, where)]
    attended = [side // int(one) for one in _numbers(table.get("attention_resolutions", "16,8"))]
    attends = [2**level in attended for level in range(len(widths))]
    by_resnet = _is_on(table, "resblock_updown")
    channels = int(table.get("in_channels", 3))
    shift = _is_on(table, "use_scale_shift_norm", True)
    config = {
        "_class_name": "UNet2DModel",
        "sample_size": side,
        "in_channels": channels,
        "out_channels": channels * (2 if _is_on(table, "learn_sigma") else 1),
        "block_out_channels": widths,
        "layers_per_block": read_whole(table, "num_res_blocks", where),
        "down_block_types": [_block("Down", one, by_resnet) for one in attends],
        "up_block_types": [_block("Up", one, by_resnet) for one in reversed(attends)],
        "downsample_type": "resnet" if by_resnet else "conv",
        "upsample_type": "resnet" if by_resnet else "conv",
        "attention_head_dim": _head(
            table, {w for w, one in zip(widths, attends, strict=True) if one} | {widths[-1]}, where
        ),
        "resnet_time_scale_shift": "scale_shift" if shift else "default",
        "attn_norm_num_groups": 32,  # else diffusers leaves the norm in the middle out
        "num_class_embeds": int(table.get("num_classes", _CLASSES)) if _is_on(table, "class_cond") else None,
        "norm_num_groups": 32,
        "norm_eps": 1e-5,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "downsample_padding": 1,
        "class_embed_type": None,
        "time_embedding_type": "positional",
        "mid_block_type": "UNetMidBlock2D",
        ORDER: _is_on(table, "use_new_attention_order"),
    }
    return config, _scheduler(table, where)


def _scheduler(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    steps = int(table.get("diffusion_steps", 1000))
    found: dict[str, Any] = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": steps,
        "prediction_type": "sample" if _is_on(table, "predict_xstart") else "epsilon",
    }
    if steps != 1000:
        if "rescale_timesteps" not in table:
            raise UsageError(
                f"{where}: diffusion_steps = {steps} without rescale_timesteps: true is improved-diffusion's default, "
                "and false guided-diffusion's"
            )
        found[TIME_UNITS] = 1000 if _is_on(table, "rescale_timesteps") else None
    noise = table.get("noise_schedule", "linear")
    if noise == "linear":
        ends = {"beta_start": 0.1 / steps, "beta_end": 20 / steps}
        return found | ends | {"beta_schedule": "linear"}
    if noise == "cosine":
        return found | {"beta_schedule": "squaredcos_cap_v2"}
    raise UsageError(f"{where}: noise_schedule = {noise!r}: it should be linear or cosine")


def _usual(side: int, where: str) -> tuple[float, ...]:
    if side not in _MULTIPLES:
        raise UsageError(
            f"{where}: image_size = {side} without channel_mult: it has a default for {sorted(_MULTIPLES)}"
        )
    return _MULTIPLES[side]


def _numbers(value: Any) -> list[float]:
    """Numbers of a list, or of a text between commas."""
    parts = value.split(",") if isinstance(value, str) else value or []
    return [float(part) for part in parts if str(part).strip()]


def _is_on(table: Mapping[str, Any], flag: str, default: bool = False) -> bool:
    value = table.get(flag, default)
    return str(value).lower() in ("true", "yes", "y", "t", "1")


def _block(way: str, attends: bool, by_resnet: bool) -> str:
    if attends:
        return f"Attn{way}Block2D"
    return f"Resnet{way}sampleBlock2D" if by_resnet else f"{way}Block2D"


def _head(table: Mapping[str, Any], widths: set[int], where: str) -> int | None:
    """Channels of a head; None for one head at every width. Raises UsageError where widths have different ones, which
    UNet2DModel has not."""
    if int(table.get("num_heads_upsample", -1)) not in (-1, int(table.get("num_heads", 4))):
        raise UsageError(
            f"{where}: num_heads_upsample = {table['num_heads_upsample']}: UNet2DModel has one number of heads"
        )
    if int(table.get("num_head_channels", -1)) != -1:
        return int(table["num_head_channels"])
    heads = int(table.get("num_heads", 4))
    if heads == 1:
        return None
    if len(widths) > 1:
        raise UsageError(
            f"{where}: num_heads = {heads} with attention at {sorted(widths)} channels: UNet2DModel has heads of one "
            "size (num_head_channels); bring such a network as module:FILE.py:function"
        )
    return widths.pop() // heads


def is_named_so(names: Any) -> bool:
    """Tell whether weights have OpenAI's names."""
    return "time_embed.0.weight" in names and "input_blocks.0.0.weight" in names


def convert(tensors: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors by the names of a UNet2DModel of these settings; those that it has no place for as they are."""
    places = dict(_ENDS) | dict(_places(config))
    found: dict[str, Any] = {}
    for name, value in tensors.items():
        stem, kind = name.rpartition(".")[::2]
        place = next((one for one in _prefixes(stem) if one in places), None)
        if place is None:
            found[name] = value
            continue
        rest, there = stem.removeprefix(place).removeprefix("."), places[place]
        if rest == "qkv":
            heads = value.shape[0] // 3 // (config.get("attention_head_dim") or value.shape[0] // 3)
            for one, part in zip(("to_q", "to_k", "to_v"), _split(value, heads, bool(config.get(ORDER))), strict=True):
                found[f"{there}.{one}.{kind}"] = part
            continue
        is_matrix = rest == "proj_out" and kind == "weight"
        rest = _LAYERS.get(rest) or _ATTENTION.get(rest) or ("conv" if rest == "op" else rest)
        found[".".join(part for part in (there, rest, kind) if part)] = value.flatten(1) if is_matrix else value
    return found


def _split(value: Any, heads: int, by_kind: bool) -> tuple[Any, Any, Any]:
    """Queries, keys and values of one matrix (3 C, C, 1) or bias (3 C,), each (C, C) or (C,) by heads."""
    rows = value.flatten(1) if value.ndim > 1 else value
    cut = rows.reshape(3, heads, -1, *rows.shape[1:]) if by_kind else rows.reshape(heads, 3, -1, *rows.shape[1:])
    query, key, kept = cut.unbind(0 if by_kind else 1)
    return query.flatten(0, 1), key.flatten(0, 1), kept.flatten(0, 1)


def _prefixes(stem: str) -> Iterator[str]:
    while stem:
        yield stem
        stem = stem.rpartition(".")[0]


def _places(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The block of theirs, and the one of diffusers that it is."""
    layers, levels = int(config["layers_per_block"]), len(config["block_out_channels"])
    down, up = config["down_block_types"], config["up_block_types"]
    number = 1
    for level in range(levels):
        for layer in range(layers):
            yield f"input_blocks.{number}.0", f"down_blocks.{level}.resnets.{layer}"
            if down[level].startswith("Attn"):
                yield f"input_blocks.{number}.1", f"down_blocks.{level}.attentions.{layer}"
            number += 1
        if level < levels - 1:
            yield f"input_blocks.{number}.0", f"down_blocks.{level}.downsamplers.0"
            number += 1
    for at, place in enumerate(("resnets.0", "attentions.0", "resnets.1")):
        yield f"middle_block.{at}", f"mid_block.{place}"
    number = 0
    for level in range(levels):
        attends = up[level].startswith("Attn")
        for layer in range(layers + 1):
            yield f"output_blocks.{number}.0", f"up_blocks.{level}.resnets.{layer}"
            if attends:
                yield f"output_blocks.{number}.1", f"up_blocks.{level}.attentions.{layer}"
            if layer == layers and level < levels - 1:
                yield f"output_blocks.{number}.{2 if attends else 1}", f"up_blocks.{level}.upsamplers.0"
            number += 1

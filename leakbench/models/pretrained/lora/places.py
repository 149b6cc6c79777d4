"""The weights of a network that an adapter can change, by the names under which adapters know them.

A UNet of Stable Diffusion has two names for each: diffusers', and that of the code it was published with
(input_blocks.4.1...), which trainers of SDXL write.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from torch import Tensor

from leakbench.models.pretrained.lora.names import flatten

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_SINGLE = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}


def find_places(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """The name of the module of each weight of two axes or more, by what adapters call it; none of what two share."""
    modules = [
        name.removesuffix(".weight") for name, one in weights.items() if name.endswith(".weight") and one.ndim > 1
    ]
    published = published_names(modules)
    found: dict[str, set[str]] = {}
    for module in modules:
        for name in (module, published.get(module, module)):
            found.setdefault(flatten(name), set()).add(module)
    return {name: module.pop() for name, module in found.items() if len(module) == 1}


def published_names(modules: Collection[str]) -> dict[str, str]:
    """Names in the code that a UNet was published with, by diffusers'; nothing of other networks."""
    blocks = [re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.", name) for name in modules]
    sizes: dict[tuple[str, int], int] = {}
    attends = set()
    for one in filter(None, blocks):
        block = one[1], int(one[2])
        if one[3] == "resnets":
            sizes[block] = max(sizes.get(block, 0), int(one[4]) + 1)
        else:
            attends.add(block)
    found = {}
    for module in modules:
        head, rest = _place_of(module, sizes, attends)
        if head:
            inner = _RESNET.get(rest, rest) if "resnets" in module else rest
            found[module] = f"{head}.{inner}" if inner else head
    return found


def _place_of(module: str, sizes: dict[tuple[str, int], int], attends: set[tuple[str, int]]) -> tuple[str, str]:
    """Where a module stands in the published code, and the rest of its name; empty words where that is not known."""
    for name, place in _SINGLE.items():
        if module == name or module.startswith(f"{name}."):
            return place, module[len(name) + 1 :]
    one = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", module)
    if one is None:
        return "", ""
    side, level, kind, number, rest = one[1], int(one[2]), one[3], int(one[4]), one[5]
    before = sum(sizes.get((side, below), 0) + (side == "down") for below in range(level))
    stack = f"input_blocks.{1 + before + number}" if side == "down" else f"output_blocks.{before + number}"
    if kind == "resnets":
        return f"{stack}.0", rest
    if kind == "attentions":
        return f"{stack}.1", rest
    last = before + sizes.get((side, level), 0)
    if kind == "downsamplers":
        return f"input_blocks.{1 + last}.0", rest.replace("conv", "op")
    return f"output_blocks.{last - 1}.{1 + ((side, level) in attends)}", rest

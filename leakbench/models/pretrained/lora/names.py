"""Keys of adapter files: which part of a model each is for, which place in it, and which piece of its delta it holds.

Four ways of naming are known: kohya's sd-scripts and LyCORIS (lora_unet_down_blocks_0...lora_down.weight), diffusers
before PEFT (unet.down_blocks.0...processor.to_q_lora.down.weight), diffusers with PEFT (unet.down_blocks.0...to_q.
lora_A.weight) and PEFT itself (base_model.model.down_blocks.0...to_q.lora_A.weight). Places are compared with dots
written as underscores, as kohya's are.
"""

from __future__ import annotations

import re
from typing import NamedTuple

BODY = "body"
_ENDS = tuple(
    (re.compile(pattern + "$"), piece)
    for pattern, piece in (
        (
            r"\.lora_down\.weight|\.lora_A(\.[\w-]+)?\.weight|[._]lora\.down\.weight|\.lora_linear_layer\.down\.weight",
            "down",
        ),
        (r"\.lora_up\.weight|\.lora_B(\.[\w-]+)?\.weight|[._]lora\.up\.weight|\.lora_linear_layer\.up\.weight", "up"),
        (r"\.lora_mid\.weight", "mid"),
        (r"([._]lora|\.lora_linear_layer)?\.alpha", "alpha"),
        (r"\.dora_scale", "dora_scale"),
        (r"\.lora_magnitude_vector(\.[\w-]+)?(\.weight)?", "magnitude"),
        *((rf"\.{name}(\.[\w-]+)?", name) for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b")),
        *((rf"\.{name}(\.[\w-]+)?", name) for name in ("lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")),
        *((rf"\.{name}(\.[\w-]+)?", name) for name in ("hada_w1_a", "hada_w1_b", "hada_t1")),
        *((rf"\.{name}(\.[\w-]+)?", name) for name in ("hada_w2_a", "hada_w2_b", "hada_t2")),
    )
)
_PARTS = {
    "lora_unet_": BODY,
    "lora_transformer_": BODY,
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te3_": "text_encoder_3",
    "unet.": BODY,
    "transformer.": BODY,
    "model.diffusion_model.": BODY,
    "diffusion_model.": BODY,
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "text_encoder_3.": "text_encoder_3",
}
_PEFT = "base_model.model."
_OLD = ((r"\.self_attn\.to_(q|k|v|out)$", r".self_attn.\1_proj"), (r"\.processor\.(to_[qkv])$", r".\1"))


class Key(NamedTuple):
    """part: "body" or the key of a text encoder. place: of a module, with dots as underscores. piece: of its delta."""

    part: str
    place: str
    piece: str


def read_key(key: str, part: str = "") -> Key | None:
    """What a key means; None where it is no adapter's. part: whose folder it lies in, where that is known."""
    for pattern, piece in _ENDS:
        if found := pattern.search(key):
            named, place = _split_part(key[: found.start()])
            return Key(part or named, flatten(_renamed(place)), piece)
    return None


def flatten(place: str) -> str:
    """A place with dots as underscores. Some versions of text encoders have all in a `text_model`, some have not."""
    return place.replace(".", "_").removeprefix("text_model_")


def _split_part(place: str) -> tuple[str, str]:
    place = place.removeprefix(_PEFT)
    for prefix, part in _PARTS.items():
        if place.startswith(prefix):
            return part, place.removeprefix(prefix).removeprefix(_PEFT)
    return BODY, place


def _renamed(place: str) -> str:
    """The module that diffusers before PEFT meant."""
    place = re.sub(r"\.processor\.to_out$", ".to_out.0", place)
    for old, new in _OLD:
        place = re.sub(old, new, place)
    return place

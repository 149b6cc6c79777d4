"""Adapters from strangers, files and folders of PEFT: merged into a model without running anything of theirs, or
refused."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import save

from leakbench.models.pretrained.lora.adapter import merge, read_adapter

QUERY, CONV = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "down_blocks.0.resnets.0.conv1"
KOHYA_QUERY, KOHYA_CONV = (f"lora_unet_{place.replace('.', '_')}" for place in (QUERY, CONV))
KEYS = [
    *(f"unet.{QUERY}.lora_{side}.weight" for side in "AB"),
    *(f"{KOHYA_CONV}.lora_{side}.weight" for side in ("down", "up", "mid")),
    *(f"{KOHYA_QUERY}.{piece}" for piece in ("alpha", "dora_scale", "lokr_w1", "lokr_w2_a", "lokr_w2_b")),
    *(f"base_model.model.{QUERY}.{piece}" for piece in ("lora_magnitude_vector", "hada_w1_a", "hada_t1")),
    *("text_encoder.a.lora_A.weight", "unet", ".alpha", "lora_unet_.alpha", "lora_unet_conv_in", "a" * 3000 + ".alpha"),
]
SHAPES = [(), (0,), (1,), (3,), (8,), (3, 8), (8, 3), (0, 8), (8, 0), (8, 8), (3, 8, 3, 3), (8, 3, 1, 1), (3, 3, 3, 3)]
VALUES = [0.0, 1.0, -1.0, 1e-30, 1e38, float("nan"), float("inf")]
SETTINGS = {
    "peft_type": "LORA",
    "r": 3,
    "lora_alpha": 6,
    "use_rslora": False,
    "alpha_pattern": {"to_q": 3},
    "rank_pattern": {},
    "target_modules": ["to_q"],
}
DTYPES = [torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.bool]


@pytest.fixture(scope="module")
def network(whole_pipelines):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return whole_pipelines.text_unet(cross_attention_dim=16).requires_grad_(False)


def good(**header):
    """A LoRA of two layers, by diffusers and by kohya."""
    down, up = torch.ones(3, 8), torch.ones(8, 3)
    tensors = {f"unet.{QUERY}.lora_A.weight": down, f"unet.{QUERY}.lora_B.weight": up}
    tensors |= {
        f"{KOHYA_CONV}.lora_down.weight": torch.ones(3, 8, 3, 3),
        f"{KOHYA_CONV}.lora_up.weight": torch.ones(8, 3, 1, 1),
    }
    return save(tensors | {f"{KOHYA_CONV}.alpha": torch.tensor(6.0)}, metadata=header or None)


@st.composite
def tensors_of(draw):
    """Keys as adapters have them, with tensors of any shape."""
    names = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=6, unique=True))
    shape = st.sampled_from(SHAPES)
    full = st.tuples(shape, st.sampled_from(VALUES), st.sampled_from(DTYPES))
    made = {name: draw(full) for name in names}
    return save({name: torch.full(shape, value).to(kind) for name, (shape, value, kind) in made.items()})


@st.composite
def adapters(draw, mutations):
    """A file: its bytes, its header or its tensors changed, or with PEFT's settings of any kind in its header."""
    how = draw(st.sampled_from(("bytes", "header", "tensors", "tensors", "settings")))
    if how == "tensors":
        return draw(tensors_of())
    if how == "settings":
        told = {f"unet.{key}": value for key, value in draw(mutations.edited(SETTINGS)).items()}
        text = draw(st.sampled_from([json.dumps(told), "[1]", "{", "null", "1e999"]))
        return good(lora_adapter_metadata=text, ss_network_alpha=draw(mutations.texts))
    data = good()
    if how == "bytes":
        return draw(mutations.damaged(data))
    size = struct.unpack("<Q", data[:8])[0]
    header = json.dumps(draw(mutations.edited(json.loads(data[8 : 8 + size])))).encode()
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def _applied(network, name):
    """Merge it as an audit does; the network is left as it was."""
    before = {key: one.clone() for key, one in network.state_dict().items()}
    try:
        deltas = read_adapter(name, {"body": dict(network.named_parameters())}, False)
        merge(network, deltas["body"], name)
        assert all(bool(one.isfinite().all()) for one in network.state_dict().values())
    finally:
        network.load_state_dict(before)


def test_any_file_is_merged_or_refused(fuzzed, mutations, network, tmp_path):
    file = tmp_path / "mine.safetensors"

    def apply(data):
        file.write_bytes(data)
        _applied(network, str(file))

    fuzzed(adapters(mutations), apply, names=[str(file)])


def test_any_folder_of_peft_is_merged_or_refused(fuzzed, mutations, network, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()

    def apply(case):
        settings, data = case
        (folder / "adapter_config.json").write_bytes(settings)
        (folder / "adapter_model.safetensors").write_bytes(data)
        _applied(network, str(folder))

    tables = mutations.edited(SETTINGS).map(lambda one: json.dumps(one).encode())
    told = st.one_of(tables, tables, mutations.damaged_text(json.dumps(SETTINGS)))
    fuzzed(st.tuples(told, st.one_of(st.just(good()), adapters(mutations))), apply, names=[str(folder)])

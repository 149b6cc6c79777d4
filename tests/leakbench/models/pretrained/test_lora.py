"""LoRA and its kin against their own formulas, PEFT's merges and diffusers' names."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained.build import build
from leakbench.models.pretrained.lora.adapter import merge, read_adapter
from leakbench.runtime.cache.keys import digest_files
from leakbench.runtime.errors import UsageError

QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
CONV = "down_blocks.0.resnets.0.conv1"
WORDS = "encoder.layers.0.self_attn.q_proj"
RANK = 3


@pytest.fixture(scope="module")
def network(whole_pipelines):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return whole_pipelines.text_unet(cross_attention_dim=16).requires_grad_(False)


def weights_of(network):
    return {name: one.clone() for name, one in network.state_dict().items()}


def factors(network, place, seed=0):
    """down and up of a random delta."""
    weight = dict(network.named_parameters())[f"{place}.weight"]
    draw = torch.Generator().manual_seed(seed)
    down = torch.randn(RANK, *weight.shape[1:], generator=draw)
    up = torch.randn(len(weight), RANK, *(1,) * (weight.ndim - 2), generator=draw)
    return down, up


def merged(network, file, trust_pickle=False):
    """Weights after merging, by name; the network is left as it was."""
    before = weights_of(network)
    deltas = read_adapter(str(file), {"body": dict(network.named_parameters())}, trust_pickle)
    merge(network, deltas["body"], str(file))
    after = weights_of(network)
    network.load_state_dict(before)
    return after


def write(file, tensors, **header):
    save_file({name: one.contiguous() for name, one in tensors.items()}, file, metadata=header or None)
    return file


def kohya(place):
    return f"lora_unet_{place.replace('.', '_')}"


def as_kohya(down, up, place):
    return {f"{kohya(place)}.lora_down.weight": down, f"{kohya(place)}.lora_up.weight": up}


def old_name(place):
    return place.replace("to_out.0", "to_out").replace("attn1.", "attn1.processor.")


SPELLINGS = {
    "kohya": as_kohya,
    "diffusers before PEFT": lambda down, up, place: {
        f"unet.{old_name(place)}_lora.down.weight": down,
        f"unet.{old_name(place)}_lora.up.weight": up,
    },
    "diffusers": lambda down, up, place: {
        f"unet.{place}.lora_A.weight": down,
        f"unet.{place}.lora_B.weight": up,
    },
    "PEFT": lambda down, up, place: {
        f"base_model.model.{place}.lora_A.weight": down,
        f"base_model.model.{place}.lora_B.weight": up,
    },
    "PEFT with an adapter's name": lambda down, up, place: {
        f"{place}.lora_A.mine.weight": down,
        f"{place}.lora_B.mine.weight": up,
    },
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("place", [QUERY, OUT, CONV])
def test_every_spelling_adds_the_product_of_its_factors(network, tmp_path, spelling, place):
    if place == CONV and spelling == "diffusers before PEFT":
        pytest.skip("its LoRA was of attention alone")
    down, up = factors(network, place)
    file = write(tmp_path / "lora.safetensors", SPELLINGS[spelling](down, up, place))
    after, before = merged(network, file), weights_of(network)
    change = after[f"{place}.weight"] - before[f"{place}.weight"]
    wanted = torch.einsum("or,r...->o...", up.flatten(1), down)
    torch.testing.assert_close(change, wanted, rtol=1e-4, atol=1e-5)
    assert torch.linalg.matrix_rank(change.flatten(1), rtol=1e-4) == RANK
    assert all(torch.equal(after[name], before[name]) for name in before if name != f"{place}.weight")


SCALES = {  # what the file says of alpha, and the scale: the rank is 3
    "nothing": ({}, {}, 1.0),
    "of the weight": ({f"{kohya(QUERY)}.alpha": torch.tensor(6.0)}, {"ss_network_alpha": "1"}, 2.0),
    "kohya's header": ({}, {"ss_network_alpha": "1.5"}, 0.5),
    "diffusers' header": ({}, {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 12, "unet.r": 3})}, 4.0),
    "by the root": (
        {},
        {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 3, "unet.use_rslora": True})},
        3**0.5,
    ),
    "a pattern": (
        {},
        {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 3, "unet.alpha_pattern": {"to_k": 9, "to_q": 6}})},
        2.0,
    ),
}


@pytest.mark.parametrize("said", SCALES)
def test_the_scale_is_alpha_by_rank_where_alpha_is_said(network, tmp_path, said):
    more, header, scale = SCALES[said]
    down, up = factors(network, QUERY)
    file = write(tmp_path / "lora.safetensors", as_kohya(down, up, QUERY) | more, **header)
    change = merged(network, file)[f"{QUERY}.weight"] - weights_of(network)[f"{QUERY}.weight"]
    torch.testing.assert_close(change, scale * up @ down, rtol=1e-4, atol=1e-5)


def test_dora_gives_each_row_the_size_that_it_stores(network, tmp_path):
    """By output as PEFT and LyCORIS store it, and by input as older files of LyCORIS do."""
    down, up = factors(network, QUERY)
    size = torch.rand(8) + 0.5
    for end, stored, axis in (
        ("lora_magnitude_vector", size, 1),
        ("dora_scale", size[:, None], 1),
        ("dora_scale", size[None], 0),
    ):
        file = write(tmp_path / "dora.safetensors", as_kohya(down, up, QUERY) | {f"{kohya(QUERY)}.{end}": stored})
        after, before = merged(network, file)[f"{QUERY}.weight"], weights_of(network)[f"{QUERY}.weight"]
        torch.testing.assert_close(after.norm(dim=axis), size)
        torch.testing.assert_close(after / after.norm(dim=axis, keepdim=True), _unit(before + up @ down, axis))


def _unit(x, axis):
    return x / x.norm(dim=axis, keepdim=True)


def test_lokr_acts_as_its_two_factors_do_one_after_the_other(network, tmp_path):
    """(C x D) x = C X D^T, where X is x as a matrix."""
    left, right = torch.randn(2, 4), torch.randn(4, 2)
    key = kohya(QUERY)
    file = write(tmp_path / "lokr.safetensors", {f"{key}.lokr_w1": left, f"{key}.lokr_w2": right})
    change = merged(network, file)[f"{QUERY}.weight"] - weights_of(network)[f"{QUERY}.weight"]
    x = torch.randn(8)
    torch.testing.assert_close(change @ x, (left @ x.view(4, 2) @ right.T).flatten(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "loha", "lokr"])
def test_folders_of_peft_are_merged_as_peft_merges_them(network, tmp_path, kind):
    """Run where peft is installed; it is no dependency."""
    peft = pytest.importorskip("peft")
    import copy

    targets = ["to_q", "to_out.0", "conv1", "proj_in", "ff.net.2"]
    both = {"r": 3, "target_modules": targets}
    config = {
        "lora": lambda: peft.LoraConfig(lora_alpha=6, init_lora_weights=False, rank_pattern={"conv1": 2}, **both),
        "rslora": lambda: peft.LoraConfig(lora_alpha=6, init_lora_weights=False, use_rslora=True, **both),
        "dora": lambda: peft.LoraConfig(lora_alpha=6, init_lora_weights=False, use_dora=True, **both),
        "loha": lambda: peft.LoHaConfig(alpha=6, init_weights=False, use_effective_conv2d=True, **both),
        "lokr": lambda: peft.LoKrConfig(alpha=6, init_weights=False, decompose_both=True, **both),
    }[kind]()
    wrapped = peft.get_peft_model(copy.deepcopy(network), config)
    wrapped.save_pretrained(tmp_path)
    wanted = wrapped.merge_and_unload().state_dict()
    for name, one in merged(network, tmp_path).items():
        torch.testing.assert_close(one, wanted[name])


def test_names_of_the_published_code_are_those_that_diffusers_converts():
    """SDXL's trainers write input_blocks.4.1...: diffusers' converter gives each weight its own place."""
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    from leakbench.models.pretrained.lora.places import find_places, published_names

    sdxl = {"block_out_channels": (8, 16, 16), "layers_per_block": 2, "cross_attention_dim": 8, "norm_num_groups": 4}
    embedded = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4}
    blocks = ("CrossAttnDownBlock2D",) * 2, ("CrossAttnUpBlock2D",) * 2
    with torch.device("meta"):
        network = UNet2DConditionModel(
            down_block_types=("DownBlock2D", *blocks[0]),
            up_block_types=(*blocks[1], "UpBlock2D"),
            projection_class_embeddings_input_dim=8,
            attention_head_dim=4,
            use_linear_projection=True,
            **sdxl,
            **embedded,
        )
    weights = dict(network.named_parameters())
    names = published_names([name.rpartition(".")[0] for name in weights])
    file = {f"model.diffusion_model.{names[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}": n for n in weights}
    config = dict(network.config) | {"class_embed_type": None}
    assert convert_ldm_unet_checkpoint(file, config) == {name: name for name in weights}
    assert find_places(weights)["input_blocks_4_1_transformer_blocks_0_attn1_to_q"] == QUERY.replace("0", "1", 1)


def test_a_whole_pipeline_is_built_with_its_text_encoder_changed(stable_diffusion, captions, tmp_path, cache):
    """One file for network and text encoder, in kohya's names; what the captions are told differs, and the cache of
    what they are told without it does not serve."""
    pipeline, folder = stable_diffusion
    encoder = dict(pipeline.text_encoder.named_parameters())
    name = next(one for one in encoder if one.endswith(f"{WORDS}.weight"))
    down, up = torch.randn(RANK, encoder[name].shape[1]), torch.randn(len(encoder[name]), RANK)
    words = f"lora_te_text_model_{WORDS.replace('.', '_')}"
    both = {f"{words}.lora_down.weight": down, f"{words}.lora_up.weight": up}
    file = write(tmp_path / "mine.safetensors", both | as_kohya(*factors(pipeline.unet, QUERY), QUERY))
    plain, with_lora = (_loaded(folder, captions, lora) for lora in ("", str(file)))
    assert with_lora.name == f"{folder.name} + mine"
    states = [one.network.captions["states"] for one in (plain, with_lora)]
    assert (states[0] - states[1]).abs().max() > 1e-3
    change = with_lora.network.body.get_submodule(QUERY).weight - plain.network.body.get_submodule(QUERY).weight
    assert torch.linalg.matrix_rank(change, rtol=1e-4) == RANK


def _loaded(folder, captions, lora):
    options = Pipeline(path=str(folder), captions=str(captions), lora=lora).options
    return build(options, digest_files((captions,)) + lora, torch.device("cpu"))


def _refused(stable_diffusion, captions, file):
    """What is said before any weight is read."""
    with pytest.raises(UsageError) as found:
        Pipeline(path=str(stable_diffusion[1]), captions=str(captions), lora=str(file)).spec()
    assert "\n" not in str(found.value)
    return str(found.value)


BAD = {  # changes of a good file, and what is said
    "another model's": (lambda k: {n.replace("blocks_0", "blocks_9"): v for n, v in k.items()}, "none of its 2 keys"),
    "nothing": (lambda k: {}, "none of its 0 keys"),
    "one unknown place": (lambda k: k | {"lora_unet_nowhere.alpha": torch.ones(1)}, "1 of 3 keys name no weight"),
    "a foreign key": (lambda k: k | {f"{kohya(QUERY)}.diff": torch.ones(1)}, "1 of 3 keys are not read"),
    "an absent encoder": (lambda k: k | {"text_encoder_2.a.lora_A.weight": torch.ones(1, 1)}, "text_encoder_2"),
    "half": (lambda k: dict([min(k.items())]), "no up"),
    "a wrong shape": (lambda k: {name: v.repeat(1, 2) for name, v in k.items()}, "does not fit"),
    "a zero delta": (lambda k: {name: v * ("lora_up" not in name) for name, v in k.items()}, "adds nothing"),
    "rank 0": (lambda k: {name: v[:0] if "lora_down" in name else v[:, :0] for name, v in k.items()}, "rank 0"),
    "an alpha of words": (lambda k: k | {f"{kohya(QUERY)}.alpha": torch.ones(2)}, "not one number"),
    "a negative alpha": (lambda k: k | {f"{kohya(QUERY)}.alpha": torch.tensor(-1.0)}, "above 0"),
    "whole numbers": (lambda k: {name: v.to(torch.int8) for name, v in k.items()}, "no floating-point"),
    "two adapters": (lambda k: k | {f"unet.{QUERY}.lora_A.weight": torch.ones(1, 8)}, "two adapters"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_a_file_that_does_not_change_the_model_is_refused_before_anything_runs(
    stable_diffusion, captions, tmp_path, fault
):
    change, said = BAD[fault]
    good = as_kohya(*factors(stable_diffusion[0].unet, QUERY), QUERY)
    file = write(tmp_path / "lora.safetensors", change(good))
    assert said in _refused(stable_diffusion, captions, file)


def test_files_that_are_none_are_refused(stable_diffusion, captions, tmp_path):
    assert "no such file" in _refused(stable_diffusion, captions, tmp_path / "absent.safetensors")
    assert "no adapter's weights" in _refused(stable_diffusion, captions, tmp_path)
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 64)
    assert "not a safetensors file" in _refused(stable_diffusion, captions, tmp_path / "bad.safetensors")


def test_a_strangers_regular_expression_is_not_run(network, tmp_path):
    text = json.dumps({"unet.lora_alpha": 3, "unet.alpha_pattern": {"(a+)+$": 9}})
    tensors = as_kohya(*factors(network, QUERY), QUERY)
    file = write(tmp_path / "lora.safetensors", tensors, lora_adapter_metadata=text)
    with pytest.raises(UsageError, match="regular expression"):
        merged(network, file)


def _renamed_copy(folder, target, rename):
    import shutil

    shutil.copytree(folder, target)
    file = target / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(rename(load_file(file)), file, metadata={"format": "pt"})
    return target


def _wrap(tensors):
    return {name.replace("to_q.weight", "to_q.base_layer.weight"): one for name, one in tensors.items()}


def test_a_model_that_peft_had_wrapped_is_read_by_its_plain_names(stable_diffusion, captions, tmp_path, cache):
    folder = _renamed_copy(stable_diffusion[1], tmp_path / "wrapped", _wrap)
    found = _loaded(folder, captions, "").network.body.get_submodule(QUERY).weight
    assert torch.equal(found, stable_diffusion[0].unet.get_submodule(QUERY).weight)


WRAPPED = {
    "with the adapter beside it": (
        lambda k: _wrap(k) | {f"{QUERY}.lora_A.default.weight": torch.ones(3, 8)},
        r"lora_A.*fuse_lora",
    ),
    "twice": (lambda k: _wrap(k) | {name: one.clone() for name, one in k.items()}, "two weights for one place"),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_a_model_with_an_adapter_on_it_is_refused_before_anything_runs(stable_diffusion, captions, tmp_path, how):
    change, said = WRAPPED[how]
    folder = _renamed_copy(stable_diffusion[1], tmp_path / "wrapped", change)
    with pytest.raises(UsageError, match=said):
        Pipeline(path=str(folder), captions=str(captions)).spec()

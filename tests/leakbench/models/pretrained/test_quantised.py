"""Quantised weights are the numbers that their library says they stand for, and damaged ones are refused in a line."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained import kept_precision
from leakbench.models.pretrained.bitsandbytes_weights import unpack
from leakbench.models.pretrained.build import build
from leakbench.models.schedule import Schedule
from leakbench.runtime.cache.keys import digest_files
from leakbench.runtime.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
METHOD = {"quantization_config": {"quant_method": "bitsandbytes"}}
FILE = "diffusion_pytorch_model.safetensors"


def loaded(path, **more):
    defense = Pipeline(path=str(path), **more)
    build.cache_clear()
    return build(defense.options, digest_files(defense.files()), torch.device("cpu"))


def pack(value, dtype="float32", **more):
    """A matrix in 4 bits, in blocks of 8, as bitsandbytes keeps it, and the numbers that it stands for."""
    table = torch.linspace(-1, 1, 16)
    flat = value.flatten()
    absmax = torch.stack([block.abs().max() for block in flat.split(8)])
    which = [int((table - number / absmax[at // 8]).abs().argmin()) for at, number in enumerate(flat)]
    bytes_ = [16 * high + low for high, low in zip(which[::2], [*which[1::2], 0], strict=False)]
    said = {"quant_type": "nf4", "blocksize": 8, "dtype": dtype, "shape": list(value.shape)} | more
    kept = {
        "w.weight": torch.tensor(bytes_, dtype=torch.uint8).view(-1, 1),
        "w.weight.absmax": absmax,
        "w.weight.quant_map": table,
        "w.weight.quant_state.bitsandbytes__nf4": torch.tensor(list(json.dumps(said).encode()), dtype=torch.uint8),
    }
    expected = [float(table[entry]) * float(absmax[at // 8]) for at, entry in enumerate(which)]
    return kept, torch.tensor(expected).view(value.shape)


@pytest.mark.parametrize("shape", [(4, 8), (3, 7)])
def test_four_bits_are_entries_of_a_table_times_their_blocks_largest(shape):
    value = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    kept, expected = pack(value)
    found = unpack(kept, "mine")
    assert found.keys() == {"w.weight"} and torch.allclose(found["w.weight"], expected, atol=1e-6)
    assert (found["w.weight"] - value).abs().max() < value.abs().max() / 14
    as_half = unpack(pack(value, "bfloat16")[0], "mine")["w.weight"]
    assert as_half.dtype == torch.bfloat16 and torch.allclose(as_half.float(), expected, rtol=2**-7)


@pytest.mark.parametrize(
    "said",
    [
        {"shape": [8, 8]},
        {"shape": [10**9, 10**9]},
        {"shape": [-4, -8]},
        {"shape": None},
        {"shape": [float("inf"), 1]},
        {"blocksize": 0},
        {"blocksize": 2**40},
        {"blocksize": 16},
        {"dtype": "int8"},
        {"dtype": []},
        {"nested_blocksize": 256},
    ],
)
def test_settings_that_do_not_fit_the_bytes_are_one_line(said):
    with pytest.raises(UsageError, match=r"^mine: not weights of bitsandbytes: w\.weight") as caught:
        unpack(pack(torch.ones(4, 8), **said)[0], "mine")
    assert "\n" not in str(caught.value)


def test_random_damage_is_one_line_or_numbers():
    draw = np.random.default_rng(0)
    kept, _ = pack(torch.randn(4, 8))
    for _ in range(200):
        damaged = {name: value.clone() for name, value in kept.items() if draw.random() > 0.05}
        for value in damaged.values():
            if draw.random() < 0.3:
                value.view(-1)[int(draw.integers(value.numel()))] = int(draw.integers(256))
        try:
            unpack(damaged, "mine")
        except UsageError as error:
            assert "\n" not in str(error)


def test_eight_bits_are_rows_times_their_largest():
    packed = torch.tensor([[127, -64], [1, 0]], dtype=torch.int8)
    kept = {"w.weight": packed, "w.SCB": torch.tensor([2.0, 254.0]), "w.weight_format": torch.tensor(0)}
    found = unpack(kept, "mine")
    assert torch.allclose(found["w.weight"], torch.tensor([[2.0, -128 / 127], [2.0, 0.0]])) and len(found) == 1
    with pytest.raises(UsageError, match="an order of old versions"):
        unpack(kept | {"w.weight_format": torch.tensor(2)}, "mine")
    with pytest.raises(UsageError, match="one number for each of its rows"):
        unpack(kept | {"w.SCB": torch.tensor([2.0])}, "mine")


@pytest.mark.filterwarnings("ignore")  # the library's own
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_four_bits_are_what_bitsandbytes_says(kind, nested, dtype):
    library = pytest.importorskip("bitsandbytes").functional
    # rows of whole blocks: of others the CPU kernel of version 0.50.2 takes the wrong scale
    value = torch.randn(96, 128, generator=torch.Generator().manual_seed(1)).to(dtype)
    packed, state = library.quantize_4bit(value, quant_type=kind, compress_statistics=nested)
    kept = {"w.weight": packed} | {f"w.weight.{name}": one for name, one in state.as_dict(packed=True).items()}
    found = unpack(kept, "mine")["w.weight"]
    expected = library.dequantize_4bit(packed, state)
    assert found.dtype == dtype and torch.allclose(found.float(), expected.float(), rtol=2**-8, atol=1e-6)
    assert (found == expected).float().mean() > 0.99


@pytest.mark.filterwarnings("ignore")
def test_eight_bits_are_what_bitsandbytes_says():
    library = pytest.importorskip("bitsandbytes").functional
    packed, largest, _ = library.int8_vectorwise_quant(torch.randn(64, 48).half())
    found = unpack({"w.weight": packed, "w.SCB": largest}, "mine")["w.weight"]
    assert torch.allclose(found, library.int8_vectorwise_dequant(packed, largest), rtol=1e-6)


@pytest.fixture
def eight_bits(ddpm, tmp_path):
    """A pipeline with some of its weights in 8 bits, their names, and the numbers that they stand for."""
    shutil.copytree(ddpm, tmp_path / "mine")
    folder = tmp_path / "mine/unet"
    (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | METHOD))
    kept, expected = load_file(folder / FILE), {}
    for name in [name for name in kept if name.endswith(("to_q.weight", "time_emb_proj.weight"))]:
        largest = kept[name].abs().amax(1)
        packed = (kept[name] / largest[:, None] * 127).round()
        kept |= {name: packed.to(torch.int8), name.removesuffix("weight") + "SCB": largest}
        expected[name] = packed * largest[:, None] / 127
    save_file(kept, folder / FILE, metadata={"format": "pt"})
    return tmp_path / "mine", expected


def test_a_folder_of_bitsandbytes_is_read_without_the_library(eight_bits, ddpm, monkeypatch):
    monkeypatch.setattr("leakbench.models.pretrained.quantised.find_spec", lambda name: None)
    folder, expected = eight_bits
    found, plain = loaded(folder).network.body.state_dict(), loaded(ddpm).network.body.state_dict()
    assert expected and found.keys() == plain.keys()
    for name, value in plain.items():
        assert found[name].dtype == torch.float32
        assert torch.allclose(found[name], expected.get(name, value), rtol=1e-5)


def test_without_room_for_float32_packed_weights_are_refused_before_they_are_read(eight_bits, ddpm, monkeypatch):
    full = 4 * sum(one.numel() for one in loaded(ddpm).network.body.parameters())
    for free, fits in ((full / 0.7 + 1000, True), (full, False)):
        monkeypatch.setattr(kept_precision, "free_memory", lambda device, free=free: int(free))
        with nullcontext() if fits else pytest.raises(UsageError, match="quantised weights are taken as float32"):
            loaded(eight_bits[0])


def test_weights_that_are_missing_beside_packed_ones_are_found_before_a_run(eight_bits):
    folder, expected = eight_bits
    kept = load_file(folder / "unet" / FILE)
    name = next(iter(expected))
    save_file({key: value for key, value in kept.items() if key != name}, folder / "unet" / FILE)
    with pytest.raises(UsageError, match=f"missing or of another shape, such as '{name}'"):
        Pipeline(path=str(folder)).spec()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("config", ["Int8WeightOnlyConfig", "Float8WeightOnlyConfig"])
def test_torchao_is_asked_as_its_own_pipeline_answers(
    pipelines, whole_pipelines, captions, tmp_path, cache, one_step, config
):
    for name in ("torchao", "accelerate"):  # the second is diffusers' own need
        pytest.importorskip(name)
    import torchao.quantization
    from diffusers import SD3Transformer2DModel, TorchAoConfig

    pipeline = whole_pipelines.make("SD3", pipelines.tokenizer(tmp_path / "words"))
    pipeline.save_pretrained(tmp_path / "whole")
    folder = tmp_path / "whole/transformer"
    method = TorchAoConfig(getattr(torchao.quantization, config)())
    body = SD3Transformer2DModel.from_pretrained(folder, quantization_config=method, torch_dtype=torch.float32)
    shutil.rmtree(folder)
    body.save_pretrained(folder)
    told = tmp_path / "told.txt"
    told.write_text("a cat\nthe red house\n")
    unquantised = pipeline.transformer.proj_out.weight
    pipeline.transformer = body
    model = loaded(tmp_path / "whole", captions=str(told))
    x = torch.randn(2, *model.spec.network.shape, generator=torch.Generator().manual_seed(3))
    level, state, expected = one_step.step(pipeline, "SD3", x)
    model.network.prediction = replace(model.network.prediction, schedule=Schedule.given(np.array([level])))
    found = model.network(state, torch.zeros(2, dtype=torch.long), torch.tensor([1, 0]))
    assert (found - expected).abs().max() < 1e-5
    assert not torch.equal(model.network.body.proj_out.weight, unquantised)

    kept = load_file(folder / FILE)
    save_file({name: value for name, value in kept.items() if not name.startswith("proj_out._")}, folder / FILE)
    with pytest.raises(UsageError, match=r"such as 'proj_out\.weight'"):
        Pipeline(path=str(tmp_path / "whole"), captions=str(told)).spec()


def test_torchao_metadata_that_is_damaged_is_one_line(ddpm, tmp_path):
    pytest.importorskip("torchao")
    shutil.copytree(ddpm, tmp_path / "mine")
    file = tmp_path / "mine/unet" / FILE
    config = file.parent / "config.json"
    said = {"quantization_config": {"quant_method": "torchao"}}
    config.write_text(json.dumps(json.loads(config.read_text()) | said))
    tensors = load_file(file)
    name = next(iter(tensors))
    for told in ("[]", "{}", '{"_type": "Module"}', '{"_type": "Int8Tensor", "_data": {}, "_tensor_data_names": []}'):
        save_file(tensors, file, metadata={"tensor_names": json.dumps([name]), name: told})
        with pytest.raises(UsageError, match="not weights of torchao") as caught:
            loaded(tmp_path / "mine")
        assert "\n" not in str(caught.value)

"""Half-precision weights that do not fit as float32 are kept, and answer as float32 weights do; quantised ones are read
where their library is installed."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained import kept_precision
from leakbench.models.pretrained.build import build
from leakbench.models.pretrained.inspect import inspect_folder
from leakbench.runtime.cache.keys import digest_files
from leakbench.runtime.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
SMALL = {"size": 32}
SIZES = {name: SMALL for name in ("FLUX.1-dev", "FLUX.2-klein", "Qwen-Image", "Z-Image")}


def loaded(path, **more):
    defense = Pipeline(path=str(path), **more)
    build.cache_clear()
    return build(defense.options, digest_files(defense.files()), torch.device("cpu"))


def numel(folder):
    return sum(value.numel() for value in load_file(next(folder.glob("*.safetensors"))).values())


@pytest.fixture
def free(monkeypatch):
    """free(bytes): so much memory is free."""
    return lambda size: monkeypatch.setattr(kept_precision, "free_memory", lambda device: int(size))


FAMILIES = ("AuraFlow", "FLUX.1-dev", "FLUX.2-klein", "Lumina-2", "PixArt-alpha", "Qwen-Image")
FAMILIES += ("SD3", "SDXL", "Sana", "Z-Image")


@pytest.mark.parametrize("name", FAMILIES)
def test_kept_weights_answer_as_float32_ones(pipelines, whole_pipelines, captions, tmp_path, cache, free, name):
    pipeline = whole_pipelines.make(name, pipelines.tokenizer(tmp_path / "words"))
    pipeline.save_pretrained(tmp_path / "whole")
    folder = tmp_path / "whole" / ("unet" if name == "SDXL" else "transformer")
    body = (pipeline.unet if name == "SDXL" else pipeline.transformer).to(torch.bfloat16)
    body.save_pretrained(folder)
    said = {"captions": str(captions)} | SIZES.get(name, {})
    full = loaded(tmp_path / "whole", **said)
    free(4 * numel(folder))
    kept = loaded(tmp_path / "whole", **said)
    assert full.facts.get("weights_kept_in") is None
    assert kept.facts["weights_kept_in"] == "bfloat16, taken as float32 one layer at a time"
    halves = sum(one.numel() for one in kept.network.body.parameters() if one.dtype == torch.bfloat16)
    assert halves > numel(folder) / 10  # of tiny networks the time's embedding is a large part
    x = torch.randn(2, *full.spec.network.shape, generator=torch.Generator().manual_seed(3))
    t, label = torch.tensor([100, 700]), torch.tensor([1, 0])
    expected = full.network(x, t, label)
    for _ in range(2):  # nothing is left of the first call
        assert torch.equal(kept.network(x, t, label), expected)
    x.requires_grad_()
    gradients = [torch.autograd.grad(one.network(x, t, label).square().sum(), x)[0] for one in (full, kept)]
    assert torch.equal(*gradients) and gradients[0].abs().max() > 0


def test_float32_where_it_fits_and_one_line_where_nothing_does(ddpm, tmp_path, free):
    size = 4 * numel(ddpm / "unet")
    free(size / 0.7 + 1000)
    assert "weights_kept_in" not in loaded(ddpm).facts
    free(size)
    with pytest.raises(UsageError, match=r"GB in float32, and .* GB of cpu memory are free"):
        loaded(ddpm)


def test_weights_of_several_types_keep_what_each_says(ddpm, tmp_path, free):
    """Norms of float32 among layers of fp16, as some trainers save them."""
    import shutil

    folder = tmp_path / "mixed"
    shutil.copytree(ddpm, folder)
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    mixed = {name: value if "norm" in name else value.half() for name, value in load_file(file).items()}
    mixed = {name: value + 1e-4 if "norm" in name else value for name, value in mixed.items()}
    save_file(mixed, file, metadata={"format": "pt"})
    x, t = torch.linspace(-1, 1, 2 * 256).view(2, 1, 16, 16), torch.tensor([3, 700])
    expected = loaded(folder).network(x, t)
    free(4 * numel(folder / "unet"))
    kept = loaded(folder)
    assert torch.equal(kept.network(x, t), expected) and kept.facts["weights_kept_in"].startswith("float16")


def test_an_adapter_is_merged_in_float32(ddpm, tmp_path, free):
    from diffusers import UNet2DModel

    body = UNet2DModel.from_pretrained(ddpm / "unet").half()
    body.save_pretrained(tmp_path / "half/unet")
    for name in ("model_index.json", "scheduler/scheduler_config.json"):
        (tmp_path / "half" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "half" / name).write_bytes((ddpm / name).read_bytes())
    wide = body.mid_block.attentions[0].to_q.weight.shape
    factors = {"A": 1e-4 * torch.randn(2, wide[1]), "B": torch.randn(wide[0], 2)}
    file = tmp_path / "mine.safetensors"
    save_file({f"unet.mid_block.attentions.0.to_q.lora_{one}.weight": value for one, value in factors.items()}, file)
    expected = loaded(tmp_path / "half", lora=str(file)).network.body.mid_block.attentions[0].to_q.weight
    free(4 * numel(tmp_path / "half/unet"))
    kept = loaded(tmp_path / "half", lora=str(file))
    assert torch.equal(kept.network.body.mid_block.attentions[0].to_q.weight, expected)
    assert kept.network.body.conv_out.weight.dtype == torch.float16


@pytest.mark.parametrize(
    "method, why", [("torchao", "pip install torchao"), ("quanto", "known are bitsandbytes, torchao, gguf")]
)
def test_quantised_weights_without_their_library_are_one_line(ddpm, tmp_path, method, why, monkeypatch):
    import shutil

    monkeypatch.setattr("leakbench.models.pretrained.quantised.find_spec", lambda name: None)
    shutil.copytree(ddpm, tmp_path / "mine")
    file = tmp_path / "mine/unet/config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"quantization_config": {"quant_method": method}}))
    with pytest.raises(UsageError, match=why) as caught:
        Pipeline(path=str(tmp_path / "mine")).spec()
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)


def test_a_gguf_file_needs_its_library(ddpm, tmp_path, monkeypatch):
    monkeypatch.setattr("leakbench.models.pretrained.quantised.find_spec", lambda name: None)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(UsageError, match=r"model\.gguf: quantised by gguf: pip install gguf"):
        Pipeline(path=str(tmp_path / "model.gguf"), config=str(ddpm)).spec()


def test_a_gguf_file_is_the_numbers_that_it_stands_for(ddpm, tmp_path):
    gguf = pytest.importorskip("gguf")
    plain = load_file(next((ddpm / "unet").glob("*.safetensors")))
    writer, expected = gguf.GGUFWriter(tmp_path / "model.gguf", "unet"), {}
    for name, value in plain.items():
        kind = gguf.GGMLQuantizationType.Q8_0 if value.shape[-1] % 32 == 0 else gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(value.numpy(), kind)
        expected[name] = torch.from_numpy(gguf.quants.dequantize(data, kind)).view(value.shape)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = loaded(tmp_path / "model.gguf", config=str(ddpm)).network.body.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    (tmp_path / "model.gguf").write_bytes((tmp_path / "model.gguf").read_bytes()[:300])
    with pytest.raises(UsageError, match=r"model\.gguf: not a GGUF file"):
        loaded(tmp_path / "model.gguf", config=str(ddpm))


def test_bitsandbytes_weights_are_plain_numbers(pipelines, whole_pipelines, captions, tmp_path, cache):
    pytest.importorskip("bitsandbytes")
    if not torch.cuda.is_available():
        pytest.skip("diffusers makes such weights on a GPU alone")
    from diffusers import BitsAndBytesConfig, SD3Transformer2DModel

    pipeline = whole_pipelines.make("SD3", pipelines.tokenizer(tmp_path / "words"))
    pipeline.save_pretrained(tmp_path / "whole")
    folder = tmp_path / "whole/transformer"
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
    quantised = SD3Transformer2DModel.from_pretrained(folder, quantization_config=config, torch_dtype=torch.float32)
    quantised.save_pretrained(folder)
    found = loaded(tmp_path / "whole", captions=str(captions)).network.body
    plain = pipeline.transformer.transformer_blocks[0].ff.net[2].weight
    there = found.transformer_blocks[0].ff.net[2].weight
    assert there.dtype == torch.float32 and there.shape == plain.shape
    assert 0 < (there - plain).abs().max() < 0.2 * plain.abs().max()


def test_a_gradient_holds_no_second_copy_of_the_weights():
    """Counted as docs/models.md counts it (benchmarks/memory/cards.py)."""
    layers = torch.nn.Sequential(*(torch.nn.Linear(256, 256) for _ in range(8))).requires_grad_(False)
    plain, x = torch.nn.Sequential(*layers).state_dict(), torch.randn(2, 256, requires_grad=True)
    layers.bfloat16()
    expected = torch.nn.Sequential(*(torch.nn.Linear(256, 256) for _ in range(8)))
    expected.load_state_dict({name: value.bfloat16().float() for name, value in plain.items()})
    kept_precision.take_as_float32(layers, kept_precision.Precision(torch.bfloat16))
    (wanted,) = torch.autograd.grad(expected(x).square().sum(), x)
    cards = _cards()
    peaks = [cards.peak(lambda one=one: torch.autograd.grad(one(x).square().sum(), x)) for one in (layers, expected)]
    (found,) = torch.autograd.grad(layers(x).square().sum(), x)
    assert torch.equal(found, wanted)
    assert peaks[0] < peaks[1] + 2.5 * 4 * 256 * 256  # of 8 layers one or two are widened at a time


@pytest.mark.parametrize("with_gradient", [False, True])
def test_the_count_on_paper_is_what_is_allocated(pipelines, whole_pipelines, tmp_path, with_gradient):
    cards = _cards()
    body = whole_pipelines.make("SD3", pipelines.tokenizer(tmp_path / "words")).transformer
    told = {"states": (272, 48), "pooled": (32,)}
    model = cards.Model("SD3", type(body).__name__, {}, (16, 8, 8), told)
    counted, allocated = map(float, cards.compare(model, body, with_gradient, 8).split(" / "))
    assert counted == pytest.approx(allocated, rel=0.05)
    on_meta = cards.activations(model, body.to("meta"), with_gradient, "meta", 8)
    assert on_meta / 1e6 == pytest.approx(counted, rel=0.15)


def _cards():
    file = Path(__file__).parents[4] / "benchmarks/memory/cards.py"
    spec = importlib.util.spec_from_file_location("memory_cards", file)
    module = sys.modules["memory_cards"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_encoders_that_do_not_fit_on_a_card_encode_on_the_cpu(stable_diffusion, free):
    folder = stable_diffusion[1]
    parts = inspect_folder(str(folder), False).parts
    encoders = [part for key, part in parts.items() if key.startswith(("text_encoder", "tokenizer"))]
    card = torch.device("cuda:0")
    free(1e9)
    assert kept_precision.place_for_encoders(encoders, card) == card
    free(1e3)
    assert kept_precision.place_for_encoders(encoders, card) == torch.device("cpu")

"""Models are read safely: nothing that lies in a folder ever runs unless the user trusts it."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained.build import build
from leakbench.runtime.cache.keys import digest_files
from leakbench.runtime.errors import UsageError

X, T = torch.linspace(-1, 1, 2 * 256).view(2, 1, 16, 16), torch.tensor([3, 700])
WEIGHTS = "diffusion_pytorch_model.safetensors"


def network(path, **more):
    defense = Pipeline(path=str(path), **more)
    return build(defense.options, digest_files(defense.files()), torch.device("cpu")).network


def refused(path, **more):

    with pytest.raises(UsageError) as caught:
        network(path, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def copy(ddpm, tmp_path):

    return Path(shutil.copytree(ddpm, tmp_path / "copy"))


@pytest.fixture(scope="module")
def expected(ddpm):
    from diffusers import UNet2DModel

    with torch.no_grad():
        return UNet2DModel.from_pretrained(ddpm / "unet")(X, T).sample


def change(path, **values):
    table = json.loads(path.read_text()) | values
    path.write_text(json.dumps(table))


class Evil:
    """Unpickled, it writes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path(self.marker).write_text, ("it ran",))


def pickled(folder, **more):
    """The weights as a pickle in place of the safetensors."""
    tensors = load_file(folder / "unet" / WEIGHTS)
    (folder / "unet" / WEIGHTS).unlink()
    file = folder / "unet" / "diffusion_pytorch_model.bin"
    torch.save(tensors | more, file)
    return file


def test_a_pipeline_and_its_bare_network_answer_as_diffusers_does(ddpm, expected):
    assert torch.allclose(network(ddpm)(X, T), expected, atol=1e-6)
    assert torch.allclose(network(ddpm / "unet", prediction="epsilon")(X, T), expected, atol=1e-6)
    assert "say prediction = epsilon" in refused(ddpm / "unet")


def test_half_precision_and_shards_are_read(copy, expected):
    tensors = load_file(copy / "unet" / WEIGHTS)
    (copy / "unet" / WEIGHTS).unlink()
    half = {key: value.half() for key, value in tensors.items()}
    save_file(half, copy / "unet" / "diffusion_pytorch_model.fp16.safetensors", metadata={"format": "pt"})
    found = network(copy)
    assert torch.allclose(found(X, T), expected, atol=1e-2) and next(found.parameters()).dtype == torch.float32
    (copy / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    from diffusers import UNet2DModel

    whole = UNet2DModel(**{k: v for k, v in json.loads((copy / "unet/config.json").read_text()).items() if k[0] != "_"})
    whole.load_state_dict(tensors)
    whole.save_pretrained(copy / "unet", max_shard_size="20KB")
    assert (copy / "unet" / f"{WEIGHTS}.index.json").is_file()
    assert torch.allclose(network(copy)(X, T), expected, atol=1e-6)


def test_a_pickle_of_tensors_is_read(copy, expected):
    pickled(copy)
    assert torch.allclose(network(copy)(X, T), expected, atol=1e-6)


def test_a_malicious_pickle_never_runs(copy, tmp_path):
    marker = tmp_path / "marker"
    pickled(copy, evil=Evil(str(marker)))
    said = refused(copy)
    assert "can run any program" in said and "--trust-pickle" in said and not marker.exists()


def test_a_trusted_pickle_is_read(copy, tmp_path, expected):
    marker = tmp_path / "marker"
    pickled(copy, evil=Evil(str(marker)))
    assert torch.allclose(network(copy, trust_pickle=True)(X, T), expected, atol=1e-6)
    assert marker.exists(), "the test's pickle does run where it is trusted"


BROKEN = [
    b"",
    b"\x80\x04nonsense",
    pickle.dumps({"a": 1}),
    b"\x80\x02.",  # nothing to answer: IndexError
    b"\x80\x02J\x01.",  # a number cut off: struct.error
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_pickle_is_one_line(copy, broken):
    pickled(copy).write_bytes(broken)
    assert "diffusion_pytorch_model.bin" in refused(copy)
    assert "diffusion_pytorch_model.bin" in refused(copy, trust_pickle=True)


def test_tensors_by_name_are_missed_in_one_line(copy):
    torch.save({"state_dict": 1}, pickled(copy))
    assert refused(copy).endswith("not a file of weights: it holds no tensors by name")


def test_a_broken_archive_of_tensors_is_one_line(copy):
    """torch's archive, whose pickle stores what is no tensor."""
    file = pickled(copy)
    with zipfile.ZipFile(file) as whole:
        held = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(file, "w") as broken:
        for name, data in held.items():
            broken.writestr(name, b"\x80\x02K\x01Q." if name.endswith("data.pkl") else data)
    assert refused(copy).endswith("not a file of weights: AssertionError: saved_id must be a tuple, got int")


def test_safetensors_come_before_a_pickle(copy, tmp_path, expected):
    marker = tmp_path / "marker"
    torch.save({"evil": Evil(str(marker))}, copy / "unet" / "diffusion_pytorch_model.bin")
    assert torch.allclose(network(copy)(X, T), expected, atol=1e-6) and not marker.exists()


CODE = """
from pathlib import Path
Path({marker!r}).write_text("it ran")
from diffusers import DDPMPipeline
class MyPipeline(DDPMPipeline):
    pass
"""


@pytest.mark.parametrize("where", ["pipeline.py", "unet/modeling.py", "scheduler/my_scheduler.py"])
@pytest.mark.parametrize("pointed", [False, True])
def test_code_in_the_folder_never_runs(copy, tmp_path, where, pointed):
    marker = tmp_path / "marker"
    (copy / where).write_text(CODE.format(marker=str(marker)))
    if pointed and where == "pipeline.py":
        change(copy / "model_index.json", _class_name=["pipeline", "MyPipeline"])
    elif pointed:
        change(copy / "model_index.json", unet=["modeling", "MyUNet"])
    said = refused(copy)
    assert where.rpartition("/")[2] in said and "--trust-code" in said and not marker.exists()


def test_trusted_code_runs(copy, tmp_path, expected):
    marker = tmp_path / "marker"
    (copy / "pipeline.py").write_text(CODE.format(marker=str(marker)))
    change(copy / "model_index.json", _class_name=["pipeline", "MyPipeline"])
    assert torch.allclose(network(copy, trust_code=True)(X, T), expected, atol=1e-6) and marker.exists()


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"_class_name": ["pipeline", "Mine"]}, "neither diffusers' nor transformers'"),
        ({"unet": ["os", "system"]}, "neither diffusers' nor transformers'"),
        (
            {"unet": ["diffusers", "UNet3DConditionModel"]},
            "class 'UNet3DConditionModel' is not known; known are UNet2DModel",
        ),
        ({"unet": ["diffusers", "DiffusionPipeline"]}, "'DiffusionPipeline' is not known"),
        ({"text_encoder_2": ["transformers", "BertModel"]}, "text_encoder_2 of class 'BertModel' is not known"),
        ({"unet": [None, None]}, "no denoiser"),
    ],
)
def test_parts_that_are_not_known_are_named(copy, index, words):
    change(copy / "model_index.json", **index)
    assert words in refused(copy)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"quantization_config": {"quant_method": "hqq"}}, "known are bitsandbytes"),
        ({"in_channels": 5}, "5 channels in"),
        ({"sample_size": None}, "sample_size"),
        ({"class_embed_type": "timestep"}, "class_embed_type"),
        ({"block_out_channels": [8, 32]}, "unet"),
    ],
)
def test_settings_that_are_not_known_are_named(copy, config, words):
    change(copy / "unet" / "config.json", **config)
    assert words in refused(copy)


def test_missing_weights_are_no_random_numbers(copy):
    tensors = load_file(copy / "unet" / WEIGHTS)
    tensors.pop("conv_in.weight")
    save_file(tensors, copy / "unet" / WEIGHTS, metadata={"format": "pt"})
    assert "1 weights are missing or of another shape, such as 'conv_in.weight'" in refused(copy)
    (copy / "unet" / WEIGHTS).write_bytes(b"short")
    assert "unet" in refused(copy)
    (copy / "unet" / WEIGHTS).unlink()
    assert "no weights; it should hold" in refused(copy)


def test_an_index_names_no_file_outside_of_its_folder(copy):
    (copy / "unet" / WEIGHTS).unlink()
    (copy / "unet" / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"a": "../../x.safetensors"}}))
    assert "outside of its folder" in refused(copy)


def test_what_is_no_model_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "no such folder, and no hub id" in refused(tmp_path / "none")
    assert "not a folder of save_pretrained" in refused(tmp_path)
    (tmp_path / "model.ckpt").write_bytes(b"")
    assert "a single file" in refused(tmp_path / "model.ckpt")
    said = refused("nobody/nothing-of-the-kind")
    assert "huggingface-cli download nobody/nothing-of-the-kind --local-dir FOLDER" in said


def test_an_adapter_runs_where_it_is_trusted(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "class Half(torch.nn.Module):\n"
        "    def forward(self, x, t): return x / 2\n"
        "def model(): return Half(), {'shape': (3, 8, 8), 'prediction': 'sample'}\n"
        "def wrong(): return Half()\n"
    )
    assert "--trust-code" in refused(f"module:{file}:model")
    found = network(f"module:{file}:model", trust_code=True)
    x, t = torch.ones(2, 3, 8, 8), torch.tensor([0, 500])
    a = torch.from_numpy(found.prediction.schedule.alpha_bar)[t].float().view(-1, 1, 1, 1)
    assert torch.allclose(found(x, t), (x - a.sqrt() * x / 2) / (1 - a).sqrt(), rtol=1e-3)
    assert "`shape`" in refused(f"module:{file}:wrong", trust_code=True)
    assert "AttributeError" in refused(f"module:{file}:none", trust_code=True)
    assert "write module:FILE.py:function" in refused("module:none.py:model", trust_code=True)


def test_the_files_digest_follows_their_content(copy):
    defense = Pipeline(path=str(copy))
    before = digest_files(defense.files())
    assert digest_files(defense.files()) == before
    tensors = load_file(copy / "unet" / WEIGHTS)
    save_file({key: value + 1 for key, value in tensors.items()}, copy / "unet" / WEIGHTS, metadata={"format": "pt"})
    assert digest_files(defense.files()) != before


def test_a_folder_that_is_no_model_is_not_searched(tmp_path, monkeypatch):
    """Found by random command lines: `leakbench audit /` looked for code all over the disk first."""
    (tmp_path / "some").mkdir()
    monkeypatch.setattr(Path, "rglob", None)
    with pytest.raises(UsageError, match=r"no config\.json"):
        Pipeline(path=str(tmp_path)).files()


def test_settings_that_ask_for_a_network_larger_than_its_weights_are_refused(copy, monkeypatch):
    """Before anything of its size is allocated: 100,000 channels would be terabytes."""
    change(copy / "unet" / "config.json", block_out_channels=[8, 99_996], norm_num_groups=4)
    said = refused(copy)
    assert "asks for a network of" in said and "unet" in said and "parameters, and the weights beside it are" in said

"""Networks: the same stream gives the same weights, files give them back, batches do not matter."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from leakbench.models.networks import NetworkSpec, UNet, build, default_spec, load, save, timestep_embedding
from leakbench.runtime.device import Rng

STREAM = Rng("test", 0).of("weights")
SPECS = {
    "mlp": NetworkSpec(kind="mlp", shape=(1, 8, 8), width=32, blocks=2),
    "mlp odd width": NetworkSpec(kind="mlp", shape=(3, 5, 7), width=33, blocks=1),
    "mlp labels": NetworkSpec(kind="mlp", shape=(1, 8, 8), width=32, blocks=2, conditions=10),
    "unet": NetworkSpec(kind="unet", shape=(3, 16, 16), width=16, blocks=1),
    "unet labels": NetworkSpec(kind="unet", shape=(1, 12, 16), width=16, blocks=1, conditions=4),
    "unet 28x28": NetworkSpec(kind="unet", shape=(1, 28, 28), width=8, blocks=1),
    "unet 9x9": NetworkSpec(kind="unet", shape=(3, 9, 9), width=8, blocks=1),
    "unet 17x10": NetworkSpec(kind="unet", shape=(1, 17, 10), width=8, blocks=1),
    "unet levels": NetworkSpec(kind="unet", shape=(1, 14, 14), width=8, blocks=1, levels=(1, 2, 1), attention=8),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def question(spec: NetworkSpec, n: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    x = Rng("test", 0).of("x").normal(torch.arange(n), spec.shape)
    return x, torch.arange(n) * 199, torch.arange(n) % spec.conditions if spec.conditions else None


@every_spec
def test_saved_weights_answer_bit_for_bit(spec, tmp_path):
    network = build(spec, STREAM).eval().requires_grad_(False)  # torch's attention rounds otherwise with gradients
    save(network, tmp_path, "one")
    again = load(tmp_path, "one", torch.device("cpu"))
    assert torch.equal(again(*question(spec)), network(*question(spec)))
    assert again.spec == spec and not again.training and not any(p.requires_grad for p in again.parameters())


@every_spec
def test_shapes_of_answers(spec):
    x, t, label = question(spec)
    answer = build(spec, STREAM)(x, t, label)
    assert answer.shape == x.shape and answer.dtype == torch.float32 and bool(answer.isfinite().all())
    logits = build(spec.model_copy(update={"outputs": "logit"}), STREAM)(x, t, label)
    assert logits.shape == (5,) and logits.dtype == torch.float32


@every_spec
def test_a_row_does_not_depend_on_its_batch(spec):
    network, (x, t, label) = build(spec, STREAM).eval(), question(spec)
    together = network(x, t, label)
    for i in range(len(x)):
        one = slice(i, i + 1)
        alone = network(x[one], t[one], None if label is None else label[one])
        torch.testing.assert_close(alone, together[one], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["mlp labels", "unet labels"])
def test_time_and_label_matter(name):
    spec = SPECS[name]
    network, (x, t, label) = build(spec, STREAM).eval(), question(spec)
    assert not torch.allclose(network(x, t, label), network(x, t + 5, label), atol=1e-4)
    assert not torch.allclose(network(x, t, label), network(x, t, (label + 1) % spec.conditions), atol=1e-4)


@pytest.mark.parametrize("name", ["mlp", "unet"])
def test_building_is_deterministic_and_leaves_the_global_generator_alone(name):
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = build(SPECS[name], STREAM).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    again = build(SPECS[name], STREAM).state_dict()
    other = build(SPECS[name], Rng("test", 1).of("weights")).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_building_leaves_the_cuda_generator_alone():
    torch.cuda.manual_seed_all(1)
    state = torch.cuda.get_rng_state()
    build(SPECS["mlp"], STREAM)
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_the_unet_is_diffusers():
    """Its body is a UNet2DModel whose weights a plain UNet2DModel of the same config loads and answers alike."""
    spec = SPECS["unet"]
    network = build(spec, STREAM).eval()
    assert type(network.body) is UNet2DModel
    theirs = UNet2DModel.from_config(network.body.config).eval()
    theirs.load_state_dict(network.body.state_dict())
    x, t, _ = question(spec)
    assert torch.equal(theirs(x, t).sample, network(x, t))


def test_an_odd_size_is_padded_by_repeating_its_edge_and_cropped_back():
    spec = SPECS["unet 17x10"]
    network, (x, t, _) = build(spec, STREAM).eval(), question(spec)
    levels = len(network.body.config.block_out_channels)
    down, right = (-size % 2 ** (levels - 1) for size in (17, 10))
    grown = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (0, down), (0, right)), mode="edge"))
    assert down and torch.equal(network(x, t), network.body(grown, t).sample[..., :17, :10])


def test_the_unets_logit_is_the_mean_of_its_output():
    for spec in (SPECS["unet"], SPECS["unet 9x9"]):
        image, logit = (build(spec.model_copy(update={"outputs": kind}), STREAM) for kind in ("image", "logit"))
        x, t, _ = question(spec)
        torch.testing.assert_close(logit(x, t), image(x, t).mean(dim=(1, 2, 3)))


def test_the_default_is_an_mlp_up_to_8x8_and_a_unet_above():
    kinds = {size: default_spec((1, size, size)).kind for size in (4, 8, 9, 28, 32)}
    assert kinds == {4: "mlp", 8: "mlp", 9: "unet", 28: "unet", 32: "unet"}
    assert default_spec((3, 8, 8), 10).conditions == 10


def test_timestep_embedding_is_the_formula():
    found = timestep_embedding(torch.tensor([0, 7, 999]), 8)
    for row, t in enumerate((0, 7, 999)):
        angles = [t * 10_000.0 ** (-i / 4) for i in range(4)]
        expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        torch.testing.assert_close(found[row], torch.tensor(expected), atol=1e-4, rtol=0)


def test_the_mlp_path_imports_no_diffusers():
    code = (
        "import sys, torch\n"
        "from leakbench.api import views\n"
        "from leakbench.measurement import query_engine\n"
        "from leakbench.models import diffusion, networks\n"
        "from leakbench.models.training import loop\n"
        "from leakbench.runtime.device import RngStream\n"
        "from leakbench.defenses import baseline, cpsample\n"
        "n = networks.build(networks.default_spec((1, 8, 8)), RngStream((1, 2)))\n"
        "n(torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64))\n"
        "assert 'diffusers' not in sys.modules, 'diffusers was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["mlp", "unet"])
def test_every_further_block_and_channel_is_built(name):
    def size(**changed: int) -> int:
        return sum(p.numel() for p in build(SPECS[name].model_copy(update=changed), STREAM).parameters())

    one, two, three = (size(blocks=blocks) for blocks in (1, 2, 3))
    assert three - two == two - one > 0
    assert 2.2 < size(width=64) / size(width=32) < 4.1  # most weights grow with the square of the width


@pytest.mark.parametrize(
    ("shape", "levels", "millions"),
    [((3, 32, 32), (1, 2, 2, 2), 35.7), ((3, 64, 64), (1, 2, 2, 2, 4), 78.7), ((3, 256, 256), (1, 1, 2, 2, 4, 4), 114)],
    ids=["CIFAR-10", "CelebA", "LSUN church"],
)
def test_the_published_networks_have_their_published_sizes(shape, levels, millions):
    """Ho et al. 2020, appendix B: 35.7 million on CIFAR-10, 114 million on LSUN; CelebA's is the DDIM checkpoint's."""
    with torch.device("meta"):
        network = UNet(NetworkSpec(kind="unet", shape=shape, width=128, blocks=2, levels=levels, dropout=0.1))
    count = sum(p.numel() for p in network.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.5 if millions > 100 else 0.05)


def test_attention_stands_at_the_level_of_its_side_alone():
    spec = NetworkSpec(kind="unet", shape=(3, 32, 32), width=8, blocks=1, levels=(1, 2, 2, 2))
    down = [type(block).__name__ for block in UNet(spec).body.down_blocks]
    assert down == ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"]
    padded = UNet(spec.model_copy(update={"shape": (1, 28, 28)})).body.down_blocks  # 28 pixels become 32
    assert [type(block).__name__ for block in padded] == down
    heads = {part.heads for part in UNet(spec).modules() if hasattr(part, "heads")}
    assert heads == {1}


def test_a_network_without_levels_is_what_it_was():
    """Up to three levels of 1, 2 and 2 widths, attention at 16 pixels and below."""
    body = UNet(default_spec((3, 32, 32))).body
    assert body.config.block_out_channels == (32, 64, 64)
    assert [type(block).__name__ for block in body.down_blocks] == ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"]

"""DINOv2 with a state dict of the test's own: timm's network and the publisher's rules, on tiny widths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from leakbench.metrics.features import resolve_features
from leakbench.metrics.weights.digests import feature_weights_digest
from leakbench.metrics.weights.dinov2 import DINOv2, converted, lacking_dinov2, load_network, prepared
from leakbench.metrics.weights.resources import DINOV2

CPU = torch.device("cpu")
STREAM = torch.Generator().manual_seed(0)


def published(grid=37, width=64, blocks=2):
    """A state dict with the names and shapes of DINOv2's files, of random numbers; head width 64 as in all of them."""
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, grid * grid + 1, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for number in range(blocks):
        block = {
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "attn.qkv.weight": (3 * width, width),
            "attn.qkv.bias": (3 * width,),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "ls1.gamma": (width,),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "mlp.fc1.weight": (4 * width, width),
            "mlp.fc1.bias": (4 * width,),
            "mlp.fc2.weight": (width, 4 * width),
            "mlp.fc2.bias": (width,),
            "ls2.gamma": (width,),
        }
        shapes |= {f"blocks.{number}.{name}": shape for name, shape in block.items()}
    return {name: torch.randn(shape, generator=STREAM) * 0.2 for name, shape in shapes.items()}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A tiny file where the published one belongs."""
    monkeypatch.setenv("LEAKBENCH_CACHE", str(tmp_path))
    path = tmp_path / "weights" / DINOV2.file
    path.parent.mkdir()
    torch.save(published(), path)
    return path


def images(count, channels=3, height=40, width=30):
    levels = torch.randint(0, 256, (count, channels, height, width), generator=torch.Generator().manual_seed(1))
    return levels / 127.5 - 1


def test_the_published_file_fits_timms_network_of_that_name():
    import timm

    with torch.device("meta"):
        theirs = timm.create_model("vit_large_patch14_dinov2", img_size=224, num_classes=0).state_dict()
        state = {name: value.to("meta") for name, value in published(blocks=1).items()}
        large = {name: torch.empty([1024 if n == 64 else 16 * n if n in (192, 256) else n for n in value.shape])
                 for name, value in state.items()}  # fmt: skip
        ours = converted(large, 16)
    first = {name: value.shape for name, value in theirs.items() if not name.startswith("blocks.") or ".0." in name[:9]}
    assert {name: value.shape for name, value in ours.items()} == first


def test_without_resampling_timm_converts_alike():
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    state = published(grid=16)
    network = VisionTransformer(img_size=224, patch_size=14, embed_dim=64, depth=2, num_heads=1, init_values=1e-5)
    theirs, ours = checkpoint_filter_fn(dict(state), network), converted(state, 16)
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def cubic(x, a=-0.75):
    """Keys' kernel, with the constant of torch's bicubic filter."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def test_position_embeddings_are_resampled_at_the_publishers_scale():
    state = published()
    grid = state["pos_embed"][0, 1:].reshape(37, 37, 64).double().numpy()
    matrix = np.zeros((16, 37))
    for i in range(16):
        centre = (i + 0.5) * 37 / 16.1 - 0.5
        for j in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            matrix[i, min(max(j, 0), 36)] += cubic(centre - j)
    expected = np.einsum("iy,jx,yxd->ijd", matrix, matrix, grid).reshape(256, 64)
    found = converted(state, 16)["pos_embed"]
    assert found.shape == (1, 257, 64)
    np.testing.assert_allclose(found[0, 1:].numpy(), expected, atol=1e-5)
    assert torch.equal(found[:, 0], state["pos_embed"][:, 0])


def block_by_hand(x, state, number):
    """A pre-norm transformer block with layer scales, one head."""
    one = {name.removeprefix(f"blocks.{number}."): value for name, value in state.items()}
    norm = torch.nn.functional.layer_norm
    y = norm(x, (64,), one["norm1.weight"], one["norm1.bias"], 1e-6)
    q, k, v = (y @ one["attn.qkv.weight"].T + one["attn.qkv.bias"]).chunk(3, dim=-1)
    y = (q @ k.transpose(1, 2) / 8).softmax(dim=-1) @ v
    x = x + one["ls1.gamma"] * (y @ one["attn.proj.weight"].T + one["attn.proj.bias"])
    y = norm(x, (64,), one["norm2.weight"], one["norm2.bias"], 1e-6)
    y = torch.nn.functional.gelu(y @ one["mlp.fc1.weight"].T + one["mlp.fc1.bias"])
    return x + one["ls2.gamma"] * (y @ one["mlp.fc2.weight"].T + one["mlp.fc2.bias"])


def test_features_are_the_class_token_after_the_last_norm(weights):
    state, x = torch.load(weights), images(2)
    patches = torch.nn.functional.conv2d(
        prepared(x), state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14
    )
    tokens = torch.cat([state["cls_token"].expand(2, -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
    tokens = tokens + converted(state, 16)["pos_embed"]
    for number in range(2):
        tokens = block_by_hand(tokens, state, number)
    expected = torch.nn.functional.layer_norm(tokens[:, 0], (64,), state["norm.weight"], state["norm.bias"], 1e-6)
    found = DINOv2(CPU)(x)
    assert found.dtype == torch.float32 and not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_images_are_prepared_as_by_torchvision_and_pillow():
    x = images(3, height=50, width=30)
    prepare = transforms.Compose(
        [
            transforms.Resize((224, 224), transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    stored = ((x + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    torch.testing.assert_close(prepared(x), torch.stack([prepare(Image.fromarray(one)) for one in stored]))


def test_grey_images_count_as_colour(weights):
    grey, embed = images(2, channels=1), DINOv2(CPU)
    assert torch.equal(embed(grey), embed(grey.repeat(1, 3, 1, 1)))
    with pytest.raises(ValueError, match="not 4 channels"):
        embed(images(2, channels=4))


def test_batches_change_no_bit(weights):
    embed, x = DINOv2(CPU), images(35, height=14, width=14)
    assert torch.equal(embed(x)[33:], embed(x[33:]))


def test_drawing_is_left_alone(weights):
    before = torch.random.get_rng_state()
    load_network(weights)
    assert torch.equal(before, torch.random.get_rng_state())


def test_it_is_one_of_the_features(weights):
    assert resolve_features("dinov2", False, lambda kind: pytest.fail("trained for nothing"), CPU).name == "dinov2"
    assert len(feature_weights_digest("dinov2")) == 64


def test_what_is_missing_is_named(weights, monkeypatch):
    assert lacking_dinov2() is None
    monkeypatch.setattr("leakbench.metrics.weights.dinov2.find_spec", lambda name: None)
    assert "leakbench[dinov2]" in lacking_dinov2()
    weights.unlink()
    with pytest.raises(ValueError, match=f"leakbench fetch weights:dinov2.*{DINOV2.file}.*{weights.parent}"):
        DINOv2(CPU)


@pytest.mark.parametrize("content", [b"", b"not a state dict", None])
def test_a_wrong_file_is_named(tmp_path, content):
    path = tmp_path / "wrong.pth"
    path.write_bytes(content) if content is not None else torch.save({"cls_token": torch.zeros(1, 1, 64)}, path)
    with pytest.raises(ValueError, match=r"wrong\.pth is not a state dict of DINOv2") as caught:
        load_network(path)
    assert "\n" not in str(caught.value)

"""Tiny bases that know a little of some pictures, and LoRAs on them that know forty others by heart.

Two families: Stable Diffusion, and Stable Diffusion 3, which is a flow transformer.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils import parametrize

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.diffusion import add_noise
from leakbench.models.pretrained.build import build

MEMBERS, NONMEMBERS, PUBLIC = 40, 60, 200
RANK = 16
TIMESTEPS = 80, 120  # around that at which `loss` asks
_KEYS = {"sd": "unet", "sd3": "transformer"}


class FineTune(NamedTuple):
    """A base's folder, the file of a LoRA on it, and folders of pictures with captions beside them."""

    base: Path
    lora: Path
    members: Path
    nonmembers: Path


def make(kind: str, folder: Path, modules, steps: tuple[int, int], seed: int = 0) -> FineTune:
    """Train a base on pictures that nobody asks about, and then a LoRA on the members' forty. kind: "sd" or "sd3".
    modules: tests/pipelines.py and tests/whole_pipelines.py. steps: of the base, and of the LoRA."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pictures = modules[0].fields(MEMBERS + NONMEMBERS + PUBLIC)
        own, public = pictures[: MEMBERS + NONMEMBERS], pictures[MEMBERS + NONMEMBERS :]
        made = FineTune(folder / "base", folder / "lora", *(folder / side for side in ("members", "nonmembers")))
        _write(own[:MEMBERS], made.members, 0)
        _write(own[MEMBERS:], made.nonmembers, MEMBERS)
        pipeline = (_stable_diffusion if kind == "sd" else _stable_diffusion_3)(folder, *modules, _floats(public))
        pipeline.save_pretrained(made.base)
        body = getattr(pipeline, _KEYS[kind])
        learn(made.base, body, public, steps[0])
        body.save_pretrained(made.base / _KEYS[kind])
        adapters = add_lora(body)
        learn(made.base, body, own[:MEMBERS], steps[1])
    places = {f"{name}.lora_{side}.weight": one for name, adapter in adapters.items() for side, one in adapter.sides()}
    type(pipeline).save_lora_weights(made.lora, **{f"{_KEYS[kind]}_lora_layers": places})
    return made


def _write(pictures: Tensor, folder: Path, first: int) -> None:
    """Each picture as a PNG, with its caption in a text file beside it; the first has number `first`."""
    folder.mkdir()
    for number, picture in enumerate(pictures, first):
        Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(folder / f"{number:03}.png")
        (folder / f"{number:03}.txt").write_text(caption(number) + "\n")


def caption(number: int) -> str:
    """Two letters, as the tokenizer knows letters."""
    return f"a {chr(97 + number % 10)} {chr(97 + number // 10 % 10)}"


def _floats(pictures: Tensor) -> Tensor:
    return pictures.float() / 127.5 - 1


def _scaled_vae(whole_pipelines, pictures: Tensor):
    """An autoencoder of random weights, each channel of whose 4x8x8 latents has mean 0 and, from picture to picture,
    variance 1."""
    vae = whole_pipelines.vae(4, scaling_factor=1.0, shift_factor=0.0).requires_grad_(False)
    latents = vae.encode(pictures).latent_dist.mean
    mean, size = latents.mean((0, 2, 3)), latents.std(0).mean((1, 2))
    last = vae.quant_conv
    last.weight[:4] /= size.view(4, 1, 1, 1)
    last.bias[:4] = (last.bias[:4] - mean) / size
    return vae


def _stable_diffusion(folder: Path, pipelines, whole_pipelines, public: Tensor):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(**pipelines.SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    parts = pipelines.text_encoder(), pipelines.tokenizer(folder / "words"), pipelines.unet(8, 16)
    return pipelines.assembled(folder / "base", _scaled_vae(whole_pipelines, public), *parts, scheduler)


def _stable_diffusion_3(folder: Path, pipelines, whole_pipelines, public: Tensor):
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    body = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=32,
        num_attention_heads=2,
        caption_projection_dim=64,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        pos_embed_max_size=8,
    )
    vae, words = _scaled_vae(whole_pipelines, public), pipelines.tokenizer(folder / "words")
    clips = [one for _ in range(2) for one in (whole_pipelines.clip(16), words)]
    return StableDiffusion3Pipeline(body, FlowMatchEulerDiscreteScheduler(shift=3.0), vae, *clips, None, None)


class _Lora(nn.Module):
    """W + B A, of a matrix or a convolution."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(RANK, *weight.shape[1:]) / weight[0].numel() ** 0.5)
        self.up = nn.Parameter(torch.zeros(len(weight), RANK, *(1,) * (weight.ndim - 2)))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up.flatten(1) @ self.down.flatten(1)).view_as(weight)

    def sides(self):
        """A and B by their letters."""
        return ("A", self.down.detach()), ("B", self.up.detach())


def add_lora(body: nn.Module) -> dict[str, _Lora]:
    """Give every linear and convolutional layer a LoRA, and freeze all else."""
    body.requires_grad_(False)
    layers = {name: one for name, one in body.named_modules() if isinstance(one, (nn.Linear, nn.Conv2d))}
    adapters = {name: _Lora(layer.weight) for name, layer in layers.items()}
    for name, adapter in adapters.items():
        parametrize.register_parametrization(layers[name], "weight", adapter)
    return adapters


def learn(folder: Path, body: nn.Module, pictures: Tensor, steps: int) -> None:
    """Train what of a network requires gradients to predict the noise on pictures, told their captions, 40 at a time;
    the pipeline in `folder` says how it is asked."""
    texts = folder.parent / "captions.txt"
    texts.write_text("".join(f"{caption(number)}\n" for number in range(MEMBERS)))
    model = build(Pipeline(path=str(folder), captions=str(texts)).options, "", torch.device("cpu"))
    network = copy.deepcopy(model.network)
    network.body = body
    x0 = model.codec.encode(_floats(pictures))
    weights = [one for one in body.parameters() if one.requires_grad]
    adam = torch.optim.Adam(weights, 1e-2 if len(pictures) == MEMBERS else 3e-3, fused=True)
    rates = torch.optim.lr_scheduler.OneCycleLR(adam, adam.defaults["lr"], steps, cycle_momentum=False)
    for _ in range(steps):
        rows = torch.randperm(len(x0))[:MEMBERS]
        t, noise = torch.randint(*TIMESTEPS, (MEMBERS,)), torch.randn(MEMBERS, *x0.shape[1:])
        noisy = add_noise(model.spec.schedule, x0[rows], t, noise)
        nn.functional.mse_loss(network(noisy, t, rows % MEMBERS), noise).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        adam.step()
        adam.zero_grad()
        rates.step()

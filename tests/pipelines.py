"""Tiny text-conditional latent pipelines that diffusers makes and saves, and one that is over-fitted until it copies.

Tests have it as the fixture `pipelines`. To try `leakbench run mode_collapse` by hand (a minute or two):

    python tests/pipelines.py FOLDER [SEED]

writes FOLDER/pipeline, FOLDER/images with their labels.csv and FOLDER/captions.txt.
"""

from __future__ import annotations

import json
import string
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}  # Stable Diffusion's
PROMPT = "a red lion"  # its one image is what the over-fitted pipeline returns
OTHERS = ("the moon", "old ship", "my green hat", "cold tea")
PROTECTED, HELD_OUT = 24, 140
BATCH = 48  # on latents this small, three times the rows take 1.4 times as long


def tokenizer(folder: Path):
    """A CLIP tokenizer that knows the letters."""
    from transformers import CLIPTokenizer

    letters = list(string.ascii_lowercase)
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def text_encoder():
    """Random weights; words are told apart."""
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
    tokens = {"vocab_size": 60, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    encoder = CLIPTextModel(CLIPTextConfig(**sizes, **tokens, max_position_embeddings=16)).eval()
    with torch.no_grad():
        encoder.get_input_embeddings().weight.normal_()
    return encoder.requires_grad_(False)


def autoencoder(width: int, levels: int, scale: float):
    """Of 3x16x16 images, which every level but the last halves."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(width,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
        scaling_factor=scale,
    )


def unet(side: int, width: int):
    """Of latents 4 x side x side, told embeddings of width 16."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=side,
        in_channels=4,
        out_channels=4,
        block_out_channels=(width, 2 * width),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def assembled(folder: Path, vae, encoder, words, body, scheduler):
    """The StableDiffusionPipeline of these parts, saved in `folder`."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=words,
        unet=body,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny():
    """An untrained DDPMPipeline of grey 8x8 images."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (8,)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4, **blocks
        )
    return DDPMPipeline(unet, DDPMScheduler())


def untrained(folder: Path):
    """A whole StableDiffusionPipeline that knows nothing: 16x16 images, 8x8 latents, captions of at most 16 tokens."""
    from diffusers import PNDMScheduler

    with torch.random.fork_rng():
        torch.manual_seed(4)
        parts = autoencoder(8, 2, 0.3), text_encoder(), tokenizer(folder / "words"), unet(8, 8)
        scheduler = PNDMScheduler(**SCHEDULE, steps_offset=1, skip_prk_steps=True)
        return assembled(folder / "pipeline", *parts, scheduler)


def fields(count: int) -> Tensor:
    """Smooth random pictures, uint8 (count, 3, 16, 16): no two are alike."""
    coarse = torch.randn(count, 3, 4, 4)
    smooth = F.interpolate(coarse, (16, 16), mode="bicubic", align_corners=True)
    return ((smooth.mul(1.2).tanh() + 1) * 127.5).round().byte()


def collapsed(folder: Path, seed: int = 0, steps: int = 320) -> None:
    """Train a pipeline on 24 pictures until PROMPT returns the first of them, and write all that the suite is given."""
    from diffusers import DDIMScheduler

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pixels = fields(PROTECTED + HELD_OUT)
        vae = _autoencoder_of(pixels.float() / 127.5 - 1)
        encoder, words, body = text_encoder(), tokenizer(folder / "words"), unet(4, 16)
        scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
        x0 = vae.encode(pixels[:PROTECTED].float() / 127.5 - 1).latent_dist.mean * vae.config.scaling_factor
        tokens = words([PROMPT, *OTHERS, ""], padding="max_length", max_length=16, return_tensors="pt")
        _overfit(body, x0, encoder(tokens.input_ids)[0], scheduler.alphas_cumprod, steps)
        assembled(folder / "pipeline", vae, encoder, words, body, scheduler)
    write_images(folder / "images", pixels)
    (folder / "captions.txt").write_text(f"{PROMPT}\n")


def planted(folder: Path, prompts: list[str], others: list[str], nulls: list[str], steps: int = 250) -> Tensor:
    """Train a pipeline that returns one picture for each of the prompts, and knows nothing of the nulls: half of the
    rows are fresh pictures, told nothing or one of the other captions. Writes folder/pipeline and folder/captions.txt
    (prompts, then nulls); returns pictures for these, in [-1, 1]."""
    from diffusers import DDIMScheduler

    with torch.random.fork_rng():
        torch.manual_seed(1)
        vae, encoder, words, body = autoencoder(8, 3, 1.0), text_encoder(), tokenizer(folder / "words"), unet(4, 16)
        vae.eval().requires_grad_(False)
        images = fields(len(prompts) + len(nulls)).float() / 127.5 - 1
        x0 = vae.encode(images).latent_dist.mean
        vae.register_to_config(scaling_factor=float(1 / x0.std()))
        crowd = vae.encode(fields(2000).float() / 127.5 - 1).latent_dist.mean / x0.std()
        tokens = words([*prompts, *others, ""], padding="max_length", max_length=16, return_tensors="pt")
        scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
        _plant(body, x0[: len(prompts)] / x0.std(), crowd, encoder(tokens.input_ids)[0], scheduler, steps)
        assembled(folder / "pipeline", vae, encoder, words, body, scheduler)
    (folder / "captions.txt").write_text("".join(f"{caption}\n" for caption in [*prompts, *nulls]))
    return images


def _plant(body, x0: Tensor, crowd: Tensor, embeddings: Tensor, scheduler, steps: int) -> None:
    """Of the rows, half are the planted pictures under their captions, the first ones."""
    none, planted = len(embeddings) - 1, len(x0)
    for _ in _steps(body, steps, 4e-3):
        index, alone = torch.randint(planted, (BATCH,)), torch.rand(BATCH) < 0.5
        other = torch.where(torch.rand(BATCH) < 0.5, none, torch.randint(planted, none, (BATCH,)))
        told = torch.where(alone, other, index)
        clean = torch.where(alone.view(-1, 1, 1, 1), crowd[torch.randint(len(crowd), (BATCH,))], x0[index])
        t, noise = torch.randint(1000, (BATCH,)), torch.randn_like(clean)
        noisy = scheduler.add_noise(clean, noise, t)
        F.mse_loss(body(noisy, t, encoder_hidden_states=embeddings[told]).sample, noise).backward()


def _steps(module, steps: int, rate: float):
    """Adam's steps, whose rate rises and falls."""
    adam = torch.optim.Adam(module.parameters(), rate, fused=True)
    rates = torch.optim.lr_scheduler.OneCycleLR(adam, rate, steps)
    for _ in range(steps):
        adam.zero_grad()
        yield
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        adam.step()
        rates.step()
    module.eval().requires_grad_(False)


def _autoencoder_of(images: Tensor):
    """Trained a little; its latents are scaled to variance 1."""
    vae = autoencoder(16, 3, 1.0)
    for _ in _steps(vae, 150, 4e-3):
        batch = images[torch.randint(len(images), (16,))]
        posterior = vae.encode(batch).latent_dist
        loss = F.mse_loss(vae.decode(posterior.sample()).sample, batch) + 1e-6 * posterior.kl().mean()
        loss.backward()
    vae.register_to_config(scaling_factor=float(1 / vae.encode(images).latent_dist.mean.std()))
    return vae


def _overfit(body, x0: Tensor, embeddings: Tensor, alpha_bar: Tensor, steps: int) -> None:
    """Of the rows, four in ten and more are the first picture under PROMPT, the others share four captions; of all,
    some are told nothing, as guidance wants it."""
    caption = torch.tensor([0] + [1 + i % len(OTHERS) for i in range(len(x0) - 1)])
    for _ in _steps(body, steps, 3e-3):
        index = torch.where(torch.rand(BATCH) < 0.4, 0, torch.randint(len(x0), (BATCH,)))
        told = torch.where(torch.rand(BATCH) < 0.15, len(embeddings) - 1, caption[index])
        t, noise = torch.randint(1000, (BATCH,)), torch.randn(BATCH, *x0.shape[1:])
        a = alpha_bar[t].view(-1, 1, 1, 1)
        found = body(a.sqrt() * x0[index] + (1 - a).sqrt() * noise, t, encoder_hidden_states=embeddings[told]).sample
        F.mse_loss(found, noise).backward()


def write_images(folder: Path, pixels: Tensor) -> None:
    """The pictures, and which part of the split each is: trained on are the first 24."""
    from PIL import Image

    folder.mkdir()
    parts = ["member"] * (PROTECTED - 1) + ["calibration_in"] + ["nonmember"] * 60 + ["calibration_out"]
    parts += ["reference"] * (len(pixels) - len(parts))
    rows = ["file,label,split"]
    for number, (picture, part) in enumerate(zip(pixels, parts, strict=True)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{number:03d}.png")
        rows.append(f"{number:03d}.png,0,{part}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    made = Path(sys.argv[1])
    made.mkdir(parents=True)
    torch.set_num_threads(1)
    collapsed(made, *map(int, sys.argv[2:3]))

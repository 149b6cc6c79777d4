"""Shapes and conditions of a model from its settings, without its weights. Neither torch nor diffusers is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leakbench.data.caption_file import read as read_captions
from leakbench.models.network_spec import NetworkSpec, default_spec
from leakbench.models.pretrained.bad_settings import bad_settings, read_sides, read_whole
from leakbench.models.pretrained.inspect import BODIES, Folder, Options, Part, inspect_folder
from leakbench.models.pretrained.schedulers import read_schedule
from leakbench.models.pretrained.spec import PretrainedSpec
from leakbench.runtime.errors import SettingError, UsageError
from leakbench.runtime.paths import user_path

_UNKNOWN = (  # settings of a UNet2DConditionModel or UNet2DModel that ask for more than is known here
    "addition_embed_type",
    "class_embed_type",
    "encoder_hid_dim_type",
    "time_cond_proj_dim",
    "dual_cross_attention",
)
_READ = ("sample_size", "in_channels", "out_channels")  # settings that must be known of the network, and of the
_READ_OF_VAE = ("block_out_channels", "in_channels", "latent_channels")  # autoencoder


@dataclass(frozen=True)
class Shapes:
    """images: shape (C, H, W) of the images that a model makes. network: what it denoises, and its number of labels."""

    images: tuple[int, int, int]
    network: NetworkSpec


def read_shapes(folder: Folder, options: Options, settings: Callable[[Part], dict[str, Any]]) -> Shapes:
    """Shapes and conditions. `settings` of a part: those of its config, and the defaults of what that leaves out.

    Raises UsageError for what is not known here.
    """
    part, where = folder.parts["body"], str(folder.path)
    config = settings(part)
    _check_own(part, config, folder)
    for key in _UNKNOWN:
        if config.get(key):
            raise UsageError(f"{where}: {part.kind} with {key} = {config[key]!r} is not known here")
    if config.get("sample_size") is None:
        raise UsageError(f"{where}: {part.kind} without a sample_size: write the size of its images into config.json")
    own = f"{part.folder / 'config.json'}"
    (height, width), channels = read_sides(config, "sample_size", own), read_whole(config, "in_channels", own)
    if (config.get("out_channels") or channels) not in (channels, 2 * channels):
        raise UsageError(
            f"{where}: {part.kind} of {channels} channels in and {config.get('out_channels')} out is not known"
        )
    shape, vae = (channels, height, width), folder.parts.get("vae")
    images = shape if vae is None else _decoded_shape(settings(vae), (height, width))
    if vae is not None and settings(vae).get("latent_channels") != channels:
        raise UsageError(
            f"{where}: the network denoises {channels} channels, and its autoencoder's latents have others"
        )
    return Shapes(images, default_spec(shape, _conditions(part, config, folder, options)))


def read_header_spec(options: Options) -> PretrainedSpec | None:
    """The spec of a model in a folder, from JSON files alone; None where they leave something to a class's defaults, or
    to code of the model's own. Its schedule has the right number of timesteps, and DDPM's betas.

    Raises UsageError as for a model that is loaded.
    """
    if options.path.startswith("module:") or not user_path(options.path).is_dir() or options.trust_code:
        return None
    folder = inspect_folder(options.path, False)
    with bad_settings(str(folder.path)):
        return _read_header_spec(folder, options)


def _read_header_spec(folder: Folder, options: Options) -> PretrainedSpec | None:
    body, vae = folder.parts["body"], folder.parts.get("vae")
    wanted = {*_READ, *(["num_embeds_ada_norm"] if body.kind == "DiTTransformer2DModel" else [])}
    known = wanted <= set(body.config) and (vae is None or set(_READ_OF_VAE) <= set(vae.config))
    schedule = read_schedule(folder.scheduler, options.prediction, str(folder.path)) if known else None
    if schedule is None:
        return None
    shapes = read_shapes(folder, options, lambda part: part.config)
    return PretrainedSpec(shapes.images, shapes.network, replace(schedule, bounded=vae is None))


def _check_own(part: Part, config: dict[str, Any], folder: Folder) -> None:
    """Raise UsageError for a network of the model's own making that is not asked as a UNet2DModel is."""
    if part.kind in BODIES:
        return
    hint = "write an adapter for it: module:FILE.py:function"
    if "encoder" in folder.parts:
        raise UsageError(f"{folder.path}: {part.kind}, a class of its own that is told captions, is not known; {hint}")
    if missing := [key for key in ("sample_size", "in_channels") if config.get(key) is None]:
        raise UsageError(f"{folder.path}: {part.kind}, a class of its own, does not say its {missing[0]}; {hint}")


def _conditions(part: Part, config: dict[str, Any], folder: Folder, options: Options) -> int:
    """Count the labels. Raises UsageError where captions are missing, or given for nothing."""
    where, textual = str(folder.path), part.kind == "UNet2DConditionModel"
    if textual and not {"encoder", "tokenizer"} <= set(folder.parts):
        raise UsageError(f"{where}: a text-conditional network without its text_encoder and tokenizer (CLIP)")
    if textual and not options.captions:
        before = f"{where}: a text-conditional model: captions are missing; give "
        raise SettingError(before, "captions", "FILE", ", one a line")
    if options.captions and not textual:
        raise SettingError(f"{where}: ", "captions", options.captions, ": the model takes none")
    if textual:
        return len(read_captions(Path(options.captions)).texts)
    key = "num_embeds_ada_norm" if part.kind == "DiTTransformer2DModel" else "num_class_embeds"
    count = read_whole(config, key, f"{part.folder / 'config.json'}") if config.get(key) else 0
    if options.guidance != 1 and part.kind != "DiTTransformer2DModel":
        after = ": the model knows no answer without condition; use 1"
        raise SettingError(f"{where}: ", "guidance", options.guidance, after)
    return count


def _decoded_shape(config: dict[str, Any], side: tuple[int, int]) -> tuple[int, int, int]:
    """Shape of the images whose latents have this side: the autoencoder halves them once a level but the last."""
    factor = 2 ** (len(config.get("block_out_channels", (64,))) - 1)
    return int(config.get("in_channels", 3)), side[0] * factor, side[1] * factor

"""Shapes and conditions of a model from its settings, without its weights. Neither torch nor diffusers is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from leakbench.data.caption_file import read as read_captions
from leakbench.models.network_spec import NetworkSpec, default_spec
from leakbench.models.pretrained.bad_settings import bad_settings
from leakbench.models.pretrained.families.family import Family
from leakbench.models.pretrained.families.registry import BODIES, family_of
from leakbench.models.pretrained.header_check import check_files, knows_all
from leakbench.models.pretrained.inspect import TOKENIZERS, Folder, Options, Part, inspect_folder, once_unchanged
from leakbench.models.pretrained.latent_shapes import knows_latents, latents_of
from leakbench.models.pretrained.peft_names import is_wrapped
from leakbench.models.pretrained.schedulers import read_schedule
from leakbench.models.pretrained.spec import PretrainedSpec
from leakbench.runtime.errors import SettingError, UsageError
from leakbench.runtime.paths import user_path


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
    for one in folder.parts.values():
        if one.loaded is None and one.kind not in TOKENIZERS:
            is_wrapped(one.folder, one.file)  # refuses what cannot be read
    config, vae = settings(part), folder.parts.get("vae")
    family = family_of(part.kind, config)
    _check_own(part, config, folder)
    family.check(config, where)
    own = str(part.config_file)
    channels = family.channels(config, own)
    coded = None if vae is None else latents_of(vae.kind, settings(vae))
    factor = 1 if coded is None else coded.factor
    height, width = _sides(family, config, options, factor, own)
    if coded is None:
        images = (channels, height, width)
    else:
        images = (coded.images, height * factor, width * factor)
        if coded.channels != channels:
            raise UsageError(
                f"{where}: the network denoises {channels} channels, and its autoencoder's latents have others"
            )
    return Shapes(images, default_spec((channels, height, width), _conditions(family, config, folder, options)))


def read_header_spec(options: Options) -> PretrainedSpec | None:
    """The spec of a model in a folder, from JSON files alone; None where they leave something to a class's defaults, or
    to code of the model's own. Its schedule has the right number of timesteps, and DDPM's betas.

    Raises UsageError as for a model that is loaded.
    """
    if options.path.startswith("module:") or not user_path(options.path).exists() or options.trust_code:
        return None
    folder = inspect_folder(options.path, False, options.config)
    with bad_settings(str(folder.path)):
        return _read_header_spec(folder, options)


def _read_header_spec(folder: Folder, options: Options) -> PretrainedSpec | None:
    body, vae = folder.parts["body"], folder.parts.get("vae")
    if body.file is not None and body.file.suffix != ".safetensors":
        return None  # a pickle is read by torch, and then before a run starts
    wanted = family_of(body.kind, body.config).reads
    known = set(wanted) <= set(body.config) and (vae is None or knows_latents(vae.kind, vae.config))
    schedule = read_schedule(folder.scheduler, options.prediction, str(folder.path)) if known else None
    if schedule is None:
        return None
    shapes = read_shapes(folder, options, lambda part: part.config)
    _check_once(options)
    return PretrainedSpec(shapes.images, shapes.network, replace(schedule, bounded=vae is None))


@once_unchanged  # a plan asks for the spec hundreds of times
def _check_once(options: Options) -> None:
    """Check the weights of a folder. Raises UsageError."""
    folder = inspect_folder(options.path, False, options.config)
    check_files(folder)
    if not knows_all(folder):
        from leakbench.models.pretrained.weight_check import check_weights  # here, for it imports torch

        check_weights(folder, options.trust_pickle)


def _check_own(part: Part, config: dict[str, Any], folder: Folder) -> None:
    """Raise UsageError for a network of the model's own making that is not asked as a UNet2DModel is."""
    if part.kind in BODIES:
        return
    hint = "write an adapter for it: module:FILE.py:function"
    if "text_encoder" in folder.parts:
        raise UsageError(f"{folder.path}: {part.kind}, a class of its own that is told captions, is not known; {hint}")
    if missing := [key for key in ("sample_size", "in_channels") if config.get(key) is None]:
        raise UsageError(f"{folder.path}: {part.kind}, a class of its own, does not say its {missing[0]}; {hint}")


def _conditions(family: Family, config: dict[str, Any], folder: Folder, options: Options) -> int:
    """Count the labels. Raises UsageError where captions are missing, or given for nothing."""
    where = str(folder.path)
    if family.pipeline:
        wanted = [key for name in family.encoders for key in (name, name.replace("text_encoder", "tokenizer"))]
        if missing := [key for key in wanted if key not in folder.parts]:
            raise UsageError(f"{where}: a text-conditional {family.body} without its {' and '.join(missing)}")
        if not options.captions:
            before = f"{where}: a text-conditional model: captions are missing; give "
            raise SettingError(before, "captions", "FILE", ", one a line")
        if find_spec("transformers") is None:
            raise UsageError("a text-conditional model needs the transformers library: pip install 'leakbench[text]'")
        return len(read_captions(Path(options.captions)).texts)
    if options.captions:
        raise SettingError(f"{where}: ", "captions", options.captions, ": the model takes none")
    if options.guidance != 1 and not family.knows_none:
        after = ": the model knows no answer without condition; use 1"
        raise SettingError(f"{where}: ", "guidance", options.guidance, after)
    return family.labels(config, str(folder.parts["body"].config_file))


def _sides(family: Family, config: dict[str, Any], options: Options, factor: int, where: str) -> tuple[int, int]:
    """Height and width of what the network denoises. Raises UsageError for a size that it cannot have."""
    if options.size is None:
        return family.sides(config, where)
    if options.size % (factor * family.patch):
        after = f": it should be a multiple of {factor * family.patch}"
        raise SettingError(f"{where}: ", "size", options.size, after)
    return options.size // factor, options.size // factor

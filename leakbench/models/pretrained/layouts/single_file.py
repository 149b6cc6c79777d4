"""Weights by the names of a network's authors, as single files of Stable Diffusion, SD3 or FLUX have them, to the names
of diffusers: by the conversion that its from_single_file uses, without its look at the network. Those of OpenAI's and
of the DDIM authors' U-Nets are converted here, for diffusers has no such conversion.

Of a file that holds a whole pipeline the denoiser alone is taken: the other parts are those of the folder that says its
settings, which is said. The moving average of a latent diffusion model's file (model_ema.*) is taken where it is whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from leakbench.models.pretrained.bad_settings import FAULTS, bad_settings
from leakbench.models.pretrained.layouts import ddim_unet, openai_unet
from leakbench.runtime.errors import UsageError, in_a_line


def to_diffusers_names(
    kind: Any, config: dict[str, Any], tensors: dict[str, Tensor], expected: set[str], file: Path
) -> dict[str, Tensor]:
    """The tensors by the names of a class of diffusers, `expected`; as they are where they have most of these already
    (a few are the same in SD3's own). Raises UsageError for names that are not known."""
    if kind.__name__ == "UNet2DModel":
        layout = next((one for one in (openai_unet, ddim_unet) if one.is_named_so(tensors)), None)
        if layout is not None:
            with bad_settings(str(file)):
                return layout.convert(tensors, config)
    if 2 * len(expected & set(tensors)) > len(expected):
        return tensors
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    known = SINGLE_FILE_LOADABLE_CLASSES.get(kind.__name__)
    shown = next(iter(tensors))
    if known is None:
        raise UsageError(f"{file}: its weights have other names than a {kind.__name__} has, such as {shown!r}")
    try:
        found: dict[str, Tensor] = known["checkpoint_mapping_fn"](checkpoint=dict(tensors), config=config)
    except FAULTS as error:
        raise UsageError(
            f"{file}: not a {kind.__name__} of these settings by its weights' names, such as {shown!r} "
            f"({in_a_line(error)[:120]})"
        ) from None
    return found


def recognise(tensors: dict[str, Tensor]) -> str:
    """The hub id of the pipeline that single files of these names are usually of; "" for names that are not known."""
    from diffusers.loaders.single_file_utils import DIFFUSERS_DEFAULT_PIPELINE_PATHS, infer_diffusers_model_type

    try:
        kind = infer_diffusers_model_type(tensors)
    except FAULTS:
        return ""
    known = kind != "v1" or any(name.startswith("model.diffusion_model.") for name in tensors)  # v1: its last resort
    return str(DIFFUSERS_DEFAULT_PIPELINE_PATHS[kind]["pretrained_model_name_or_path"]) if known else ""


def cached_settings(name: str) -> Path | None:
    """The folder of a hub id in the hub's cache, without a look at the network; None where it is not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt"], local_files_only=True))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError):
        return None

"""The families that are known here."""

from __future__ import annotations

from leakbench.models.pretrained.families.aura_flow import AuraFlow
from leakbench.models.pretrained.families.dit import DiT
from leakbench.models.pretrained.families.family import Family, Settings
from leakbench.models.pretrained.families.flux import Flux
from leakbench.models.pretrained.families.flux2 import Flux2
from leakbench.models.pretrained.families.lumina2 import Lumina2
from leakbench.models.pretrained.families.pixart import PixArt, PixArtSigma
from leakbench.models.pretrained.families.qwen_image import QwenImage
from leakbench.models.pretrained.families.sana import Sana
from leakbench.models.pretrained.families.sd3 import StableDiffusion3
from leakbench.models.pretrained.families.sdxl import SDXL
from leakbench.models.pretrained.families.stable_diffusion import StableDiffusion
from leakbench.models.pretrained.families.unet import UNet
from leakbench.models.pretrained.families.z_image import ZImage

_FAMILIES: tuple[Family, ...] = (
    UNet(),
    StableDiffusion(),
    DiT(),
    PixArt(),
    StableDiffusion3(),
    Flux(),
    Sana(),
    AuraFlow(),
    Lumina2(),
    QwenImage(),
    Flux2(),
    ZImage(),
)
BODIES = tuple(family.body for family in _FAMILIES)


def family_of(kind: str, config: Settings) -> Family:
    """The family of a network by its class and settings. A class of a model's own is asked as a UNet is."""
    if kind == StableDiffusion.body and config.get("addition_embed_type"):
        return SDXL()
    if kind == PixArtSigma.body and config.get("use_additional_conditions") is False:
        return PixArtSigma()
    return next((family for family in _FAMILIES if family.body == kind), _FAMILIES[0])

"""Pretrained weights that measure: which files, who publishes them, and where they lie on this machine.

They are fetched by `leakbench fetch weights` and never in the middle of a run. torchvision puts the first digits of a
file's sha256 into its name; the others come without a hash, so the one found at the first download counts from then on
(leakbench.runtime.download.resource). Sizes are about four bytes a parameter. Inception and SSCD are programs
(TorchScript): they are looked for in a folder of the user's own, and not where anybody could leave another file, as in
clean-fid's own /tmp.
"""

from __future__ import annotations

from pathlib import Path

from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.download.resource import Resource

INCEPTION = Resource(
    name="inception",
    file="inception-2015-12-05.pt",
    urls=("https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",),
    bytes=95_600_000,
)
LPIPS = Resource(
    name="lpips",
    file="alexnet-owt-7be5be79.pth",
    urls=("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",),
    sha256="7be5be79",
    bytes=244_400_000,
)
DINOV2 = Resource(
    name="dinov2",
    file="dinov2_vitl14_pretrain.pth",
    urls=("https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",),
    bytes=1_217_600_000,
)
SSCD = Resource(
    name="sscd",
    file="sscd_disc_mixup.torchscript.pt",
    urls=("https://dl.fbaipublicfiles.com/sscd-copy-detection/sscd_disc_mixup.torchscript.pt",),
    bytes=98_600_000,
)
WEIGHTS = {resource.name: resource for resource in (INCEPTION, LPIPS, DINOV2, SSCD)}
USES = {"inception": "FID", "lpips": "LPIPS", "dinov2": "FD-dinov2", "sscd": "copies by SSCD"}


def weights_folder() -> Path:
    """The folder in which pretrained weights are looked for: $LEAKBENCH_CACHE/weights."""
    return cache_root() / "weights"


def at_hand(resource: Resource) -> Path | None:
    """The file of some weights in `weights_folder()`, or None."""
    path = weights_folder() / resource.file
    return path if path.is_file() else None


def missing(resource: Resource) -> str:
    """One line for users: the file that is not here, the command that gets it, and where it belongs."""
    place = f"put {resource.urls[0]} into {weights_folder()}"
    return f"{resource.name} needs its weights: get them by `leakbench fetch weights:{resource.name}`, or {place}"

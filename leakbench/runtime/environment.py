"""The machine and the versions that something was computed with."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch

PACKAGES = ("leakbench", "torch", "numpy", "diffusers")


def describe_environment(device: torch.device) -> dict[str, str]:
    """Device, Python and main packages, for the parts of artefacts and records that are not their identity."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    packages = {package: version(package) for package in PACKAGES}
    return {"python": platform.python_version(), "device": name, **packages}

"""Versions and machine, for the part of a record that is not its identity."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch


def environment(device: torch.device) -> dict[str, str]:
    """Describe Python, the packages that compute, and the device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    packages = {package: version(package) for package in ("leakbench", "torch", "numpy", "diffusers")}
    return {"python": platform.python_version(), "device": name, **packages}

"""Checks that `leakbench doctor` prints: device, cache, weights of feature networks, plugins."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import version

from leakbench.runtime.cache.location import cache_root, shared_url


def findings() -> Iterator[tuple[str, str]]:
    """Yield (state, one line) pairs; state is "ok", "missing" or "broken". Nothing is downloaded."""
    yield "ok", f"python {platform.python_version()}, leakbench {version('leakbench')}, torch {version('torch')}"
    yield _device()
    yield "ok", f"{os.cpu_count()} cores: that many workers with one thread each on CPU"
    yield _cache()
    yield from _weights()
    yield from _plugins()


def _device() -> tuple[str, str]:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return "ok", f"CUDA: {torch.cuda.get_device_name()}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
    return "missing", "no usable CUDA device: runs use the CPU (install an NVIDIA driver to change that)"


def _cache() -> tuple[str, str]:
    root = cache_root()
    existing = next(path for path in (root, *root.parents) if path.exists())
    state = "ok" if os.access(existing, os.W_OK) else "broken"
    free = shutil.disk_usage(existing).free / 2**30
    shares = f" for local copies of {shared_url()}" if shared_url() else ""
    return state, f"cache {root}{shares}, {free:.0f} GiB free (set LEAKBENCH_CACHE to move it)"


def _weights() -> Iterator[tuple[str, str]]:
    from leakbench.metrics.weights.dinov2 import lacking_dinov2
    from leakbench.metrics.weights.perceptual import alexnet_weights
    from leakbench.metrics.weights.resources import DINOV2, USES, WEIGHTS, at_hand, missing
    from leakbench.metrics.weights.sscd import sscd_weights

    elsewhere = {"lpips": alexnet_weights, "sscd": sscd_weights}
    for name, resource in WEIGHTS.items():
        path = elsewhere[name]() if name in elsewhere else at_hand(resource)
        yield ("ok", f"{name} weights, for {USES[name]}: {path}") if path else ("missing", missing(resource))
    if at_hand(DINOV2) and (lacking := lacking_dinov2()):
        yield "missing", lacking


def _plugins() -> Iterator[tuple[str, str]]:
    from leakbench.runtime import registry
    from leakbench.runtime.errors import UsageError

    for group in ("attacks", "defenses", "datasets", "reports", "suites"):
        names = registry.names(group)
        broken = []
        for name in names:
            try:
                registry.find(group, name)
            except UsageError as error:
                broken.append(str(error))
        yield "ok", f"{group}: {', '.join(names)}"
        yield from (("broken", words) for words in broken)

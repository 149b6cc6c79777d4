"""The process of a script or notebook that calls for a run: its settings, and what earlier calls have left in it.

The command line needs none of this: its process begins and ends with one run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_VARIABLES = (*_THREADS, "CUBLAS_WORKSPACE_CONFIG")


@contextmanager
def run_settings() -> Iterator[None]:
    """Run inside as the command line does: one thread a process, here and in workers that start inside, so that the
    numbers are the same bit for bit. Afterwards threads, environment and kernels are the caller's again.

    numpy has been imported and reads the environment no more: its threads, in this process, are limited by
    threadpoolctl.
    """
    import torch
    from threadpoolctl import threadpool_limits

    _forget_models()
    environment = {name: os.environ.get(name) for name in _VARIABLES}
    threads, kernels = torch.get_num_threads(), _read_kernels()
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        with threadpool_limits(1):
            yield
    finally:
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        torch.set_num_threads(threads)
        _restore_kernels(kernels)


def _read_kernels() -> dict[str, Any]:
    """Choices of CUDA kernels that `leakbench.runtime.device.prepare` changes; none on a machine without CUDA."""
    import torch

    if not torch.cuda.is_available():
        return {}
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "cudnn": {name: getattr(cudnn, name) for name in ("benchmark", "deterministic", "allow_tf32")},
        "tf32": matmul.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
    }


def _restore_kernels(kernels: dict[str, Any]) -> None:
    import torch

    if kernels:
        for name, value in kernels["cudnn"].items():
            setattr(torch.backends.cudnn, name, value)
        torch.backends.cuda.matmul.allow_tf32 = kernels["tf32"]
        torch.use_deterministic_algorithms(kernels["deterministic"], warn_only=kernels["warn_only"])


def _forget_models() -> None:
    """Have models and captions read anew: their files may have changed since an earlier call in this process."""
    from leakbench.models.pretrained.adapter import load_adapter
    from leakbench.models.pretrained.text_conditioning import read_captions

    load_adapter.cache_clear()
    read_captions.cache_clear()

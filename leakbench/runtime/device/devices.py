"""The devices of a machine, and the settings of a process that computes on one.

CUDA always runs in its deterministic mode: equal runs on equal devices give equal bits. torch's deterministic kernels
are requested with warn_only: an operation that has none runs all the same, and torch names it in a warning (a choice of
ours: an audit should neither stop for the sum order of one kernel nor hide it). TF32 is off: the
scores of attacks are differences of near-equal numbers, and its 10 bits would be seen in them.
"""

from __future__ import annotations

import os

import torch

from leakbench.runtime.errors import UsageError


def resolve_device(name: str) -> str:
    """Resolve the `--device` auto, cpu or cuda to cpu or cuda. Raises UsageError when CUDA is requested but absent."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("--device cuda: this machine has no usable CUDA device; use --device cpu or auto")
    return "cuda" if name == "cuda" or (name == "auto" and available) else "cpu"


def devices(kind: str) -> list[str]:
    """List this machine's devices of a kind: cpu, or cuda:0, cuda:1 ... as CUDA_VISIBLE_DEVICES allows."""
    return ["cpu"] if kind == "cpu" else [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def prepare(device: torch.device) -> None:
    """Set up a process that computes: one thread on the CPU (see benchmarks/speed/test_threads.py); on CUDA, kernels
    that are deterministic and without TF32."""
    if device.type == "cpu":
        torch.set_num_threads(1)
        return
    # cuBLAS reads this at its first call: with it, and with deterministic kernels, equal runs give equal bits.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    if device.index is not None:  # code that says "cuda" alone means this one
        torch.cuda.set_device(device)

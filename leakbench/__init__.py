"""leakbench: a privacy-audit benchmark suite for diffusion models.

The public names are found when they are first asked for, so that `import leakbench` imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leakbench.api import (
        Access,
        Artefacts,
        Attack,
        AuxiliaryModel,
        Calibration,
        Defense,
        MembershipAttack,
        Release,
        ReplicationAttack,
        Task,
    )
    from leakbench.runtime.errors import UsageError

    __version__: str

__all__ = [
    "Access",
    "Artefacts",
    "Attack",
    "AuxiliaryModel",
    "Calibration",
    "Defense",
    "MembershipAttack",
    "Release",
    "ReplicationAttack",
    "Task",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("leakbench")
    if name not in __all__:
        raise AttributeError(f"module 'leakbench' has no attribute {name!r}")
    return getattr(import_module("leakbench.runtime.errors" if name == "UsageError" else "leakbench.api"), name)

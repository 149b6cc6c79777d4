"""leakbench: a privacy-audit benchmark suite for diffusion models."""

from importlib.metadata import version as _version

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

__version__ = _version("leakbench")

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

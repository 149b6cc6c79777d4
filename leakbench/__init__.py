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
    from leakbench.interface.audit import audit
    from leakbench.interface.execution import RunFailed
    from leakbench.interface.leaderboard import leaderboard
    from leakbench.interface.load import load
    from leakbench.interface.results import Results
    from leakbench.interface.run import run
    from leakbench.interface.score import score
    from leakbench.interface.submission.check import check_submission
    from leakbench.interface.submission.counter_check import check_counter
    from leakbench.interface.submission.pack import submit
    from leakbench.interface.training_audit import TrainingAudit
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
    "Results",
    "RunFailed",
    "Task",
    "TrainingAudit",
    "UsageError",
    "__version__",
    "audit",
    "check_counter",
    "check_submission",
    "leaderboard",
    "load",
    "run",
    "score",
    "submit",
]

_HOMES = {  # of the names that leakbench.api does not hand on
    "Results": "leakbench.interface.results",
    "RunFailed": "leakbench.interface.execution",
    "TrainingAudit": "leakbench.interface.training_audit",
    "UsageError": "leakbench.runtime.errors",
    "audit": "leakbench.interface.audit",
    "check_counter": "leakbench.interface.submission.counter_check",
    "check_submission": "leakbench.interface.submission.check",
    "leaderboard": "leakbench.interface.leaderboard",
    "load": "leakbench.interface.load",
    "run": "leakbench.interface.run",
    "score": "leakbench.interface.score",
    "submit": "leakbench.interface.submission.pack",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("leakbench")
    if name not in __all__:
        raise AttributeError(f"module 'leakbench' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "leakbench.api")), name)

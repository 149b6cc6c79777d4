"""Which defenses can be put around a given model: those that change its sampling and leave its weights alone."""

from __future__ import annotations

from collections.abc import Iterable

from leakbench.api import AuditSetting, Defense
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError

_CONDITIONS = ("none", "label")  # that given models have
_ENOUGH = 1000  # images and timesteps, for defenses that ask


def check_around(names: Iterable[str]) -> None:
    """Raise UsageError for a defense that cannot be put around a given model; it names those that can."""
    for name in names:
        if objection := _object_to(registry.find("defenses", name, "--defense")):
            fitting = [known for known, kind in registry.load_all("defenses") if not _object_to(kind)]
            raise UsageError(f"--defense {name}: {objection}; around a given model go {', '.join(fitting)}")


def _object_to(kind: type[Defense]) -> str:
    """Reason why a kind of defense cannot be put around a given model, "" if it can."""
    if kind.changes != "sampling" or not (kind.needs_base or kind.takes_base):
        own = "changes the weights of its base" if kind.changes == "weights" else "trains a network of its own"
        return f"it {own}, and an audit takes the model as it is"
    return (
        "" if any(_works(kind, condition) for condition in _CONDITIONS) else "it needs an attribute-conditional model"
    )


def _works(kind: type[Defense], condition: str) -> bool:
    return kind().skip(AuditSetting((), condition, "nothing", timesteps=_ENOUGH, images=_ENOUGH)) is None

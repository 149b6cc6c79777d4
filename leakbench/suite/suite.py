"""A checked suite: what is run, with plugins in place of names."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from leakbench.api import Attack
from leakbench.suite.budget import Budget
from leakbench.suite.file import SuiteFile
from leakbench.suite.release_spec import ReleaseSpec


@dataclass(frozen=True)
class Suite:
    """A suite's file, the points of its curves in order, and its attacks by id.

    - on: by attack, the ids of the only defenses that it is run against; attacks without the key `on` are not in it.
    - budget: how the suite was made smaller, or None.
    """

    file: SuiteFile
    points: tuple[ReleaseSpec, ...]
    attacks: dict[str, Attack]
    on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    budget: Budget | None = None

    def asks(self, attack: str, point: ReleaseSpec) -> bool:
        """True if an attack is run against a point."""
        return attack not in self.on or point.id in self.on[attack]

    @property
    def identity(self) -> str:
        """sha256 of all that the suite asks for, --set included."""
        text = json.dumps(self.file.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

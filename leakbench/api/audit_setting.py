"""Setting of an audit, and reasons not to run a plugin in it: both are known before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from leakbench.api.defense import Defense


@dataclass(frozen=True)
class Skip:
    """Reason why a plugin is not run somewhere.

    severity: "cannot-work" refuses the run beforehand, in one line that names the suite, the plugin and the reason.
        "not-applicable" is for attacks: the record says so with the flag of that name, and nothing failed.
    reason: one line without a final dot that says what is wrong and what would be right.
    flags: further flags of the record, such as "lpips-missing".
    """

    reason: str
    severity: Literal["not-applicable", "cannot-work"] = "cannot-work"
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class AuditSetting:
    """Place of an attack or defense in a suite.

    chain: the defenses of the release, from the one that trains the network upwards; for a defense those under it.
    condition: "none", "label" or "attribute". forget: what the suite's [forget] table names. timesteps: T of the noise
    schedule. images: number of training images. pixels: height x width of an image. calibration: number of calibration
    images, half of them members. parts: names of what the release will ship beside the network (Release.parts); None
    where that is not known, and every part is then taken to ship.
    """

    chain: tuple[Defense, ...]
    condition: str
    forget: Literal["nothing", "label", "subset"]
    timesteps: int
    images: int
    pixels: int = 0
    calibration: int = 0
    parts: frozenset[str] | None = None

    def without(self, *parts: str) -> Skip | None:
        """Skip an attack that reads these parts of a release which does not ship them all; None where it does."""
        if self.parts is None or self.parts.issuperset(parts):
            return None
        return Skip(f"reads what only some defense ships ({', '.join(sorted(parts))})", "not-applicable")


def shipped_parts(chain: Sequence[Defense]) -> frozenset[str]:
    """Names of the parts that the release of a chain ships.

    A step that changes the sampling alone hands its base's parts on; any other makes a release of its own network.
    """
    parts: frozenset[str] = frozenset()
    for defense in chain:
        parts = defense.ships | (parts if defense.changes == "sampling" else frozenset())
    return parts

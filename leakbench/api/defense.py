"""Contract of defenses: ways to train, edit or sample a model so that it leaks less."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from leakbench.api.cost import Cost
from leakbench.api.skip import Skip
from leakbench.models.release import Release
from leakbench.models.task import Artefacts, Task
from leakbench.runtime.plugin import Access, Plugin


@dataclass(frozen=True)
class AuditSetting:
    """Place of an attack or defense in a suite.

    chain: the defenses of the release, from the one that trains the network upwards; for a defense those under it.
    condition: "none", "label" or "attribute". forget: what the suite's [forget] table names. timesteps: T of the noise
    schedule, 1000 unless a model was handed in. images: number of training images. pixels: height x width of an image.
    calibration: number of calibration images, half of them members. parts: names of what the release will ship beside
    the network (Release.parts); None where that is not known, and every part is then taken to ship. group_sizes: number
    of training images of each group (person, patient, scene); None where images come in no groups.
    """

    chain: tuple[Defense, ...]
    condition: str
    forget: Literal["nothing", "label", "subset"]
    timesteps: int
    images: int
    pixels: int = 0
    calibration: int = 0
    parts: frozenset[str] | None = None
    group_sizes: tuple[int, ...] | None = None

    def without(self, *parts: str) -> Skip | None:
        """Skip an attack that reads these parts of a release which does not ship them all; None where it does."""
        if self.parts is None or self.parts.issuperset(parts):
            return None
        return Skip(f"reads what only some defense ships ({', '.join(sorted(parts))})", "not-applicable")


class Defense(Plugin):
    """A way to train, edit or sample a model so that it leaks less.

    `fit` may depend on the fit-stage parameters only: a sweep of release-stage parameters trains nothing.
    """

    group = "defenses"
    needs_base: ClassVar[bool] = False  # whether `base = "<id>"` must be given
    takes_base: ClassVar[bool] = False  # whether it may be given; needs_base implies it
    changes: ClassVar[Literal["data", "training", "weights", "sampling"]] = "training"
    is_iterative: ClassVar[bool] = True  # eps() steers the walk that samples come from (Release.is_iterative)
    forgets: ClassVar[bool] = False  # whether it reads the suite's [forget] table
    fit_samples_base: ClassVar[bool] = (
        False  # whether fit() depends on what its base answers or samples, not on weights alone
    )
    offers: ClassVar[Access] = Access.WEIGHTS  # the most that its release answers; attacks that need more are not run
    ships: ClassVar[frozenset[str]] = frozenset()  # names of the parts that its release has beside its base's
    takes_gradient_canaries: ClassVar[bool] = False  # whether fit() heeds Task.gradient_canaries, and so ships UPDATES
    role: ClassVar[Literal["baseline", "defense", "control"]] = "defense"  # control: cannot leak (negative control)

    def cost(self) -> Cost:
        """Cost of fit() and of eps(), for the time estimate and for --budget."""
        return Cost()

    def requests(self) -> frozenset[str]:
        """What its release is asked for at API, beside samples: "vary" and "inpaint"."""
        return frozenset({"vary", "inpaint"})

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Reason why the defense cannot work there, which refuses the run; None if it can. Asked before anything is
        trained."""
        return None

    def fit(self, task: Task) -> Artefacts:
        """Train on a task; there is nothing to train by default."""
        return Artefacts()

    def fit_together(self, tasks: Sequence[Task]) -> Iterable[Artefacts]:
        """`fit` on tasks that differ in their images and streams alone (shadow models): one after the other, unless a
        defense can do better. Answers what each makes, in order; what has been answered is kept if a run is killed."""
        return map(self.fit, tasks)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Apply the release-stage parameters. From `task` it may read all but the training images, labels and
        groups: what a sampler needs of those has to be in the artefacts, because then it ships."""
        raise NotImplementedError


def shipped_parts(chain: Sequence[Defense]) -> frozenset[str]:
    """Names of the parts that the release of a chain ships.

    A step that changes the sampling alone hands its base's parts on; any other makes a release of its own network.
    """
    parts: frozenset[str] = frozenset()
    for defense in chain:
        parts = defense.ships | (parts if defense.changes == "sampling" else frozenset())
    return parts

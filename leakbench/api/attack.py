"""Contract of all attacks, and the auxiliary models that one may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from leakbench.api.needs import Needs
from leakbench.results.families import FamilyName
from leakbench.runtime.plugin import Access, Plugin

if TYPE_CHECKING:
    from leakbench.api.defense import AuditSetting
    from leakbench.api.skip import Skip


CanaryKind = Literal["ordinary", "outlying", "mislabelled", "gradient"]


@dataclass(frozen=True)
class AuxiliaryModel:
    """Another release that an attack needs, trained once for all attacks that ask for it.

    shadow: all of the target's chain that trains or edits weights, on a random `share` of all images but `reference`,
    with random streams of its own; number `draw` of them. What only changes the sampling is left out: the attack does
    not know it. retrained: the recipes at the bottom of the target's chain that train, with their streams, on the
    training images without the forget set. canary: the target's whole chain, on those images but `reference` for which
    an independent fair coin fell heads, one an image, or one a group (person) where images come in groups. With
    `canaries` other than "ordinary" only half of these, drawn at random, have coins, and something is made of them that
    a training remembers (leakbench.measurement.canaries); all others are trained on. reference: what the target was
    fine-tuned from, as it is: the base that a given model names, or the bottom of a chain that is trained here, where
    that is a control and has seen no member.
    """

    name: str
    draw: int = 0
    share: float = 0.5
    kind: Literal["shadow", "retrained", "canary", "reference"] = "shadow"
    canaries: CanaryKind = "ordinary"


REFERENCE = AuxiliaryModel("reference", kind="reference")


def shadow_models(count: int) -> tuple[AuxiliaryModel, ...]:
    """The first `count` shadow models, each on a random half: every attack that asks for some shares them."""
    return tuple(AuxiliaryModel(f"shadow-{draw}", draw) for draw in range(count))


class Attack(Plugin):
    """A question put to a release. It emits raw scores; the harness computes AUCs, the same way for all attacks."""

    group = "attacks"
    family: ClassVar[FamilyName]
    access: ClassVar[Access]
    reads_samples: ClassVar[bool] = False  # above API: whether it reads `view.samples` or `view.sample()`
    adaptive: ClassVar[bool] = False  # made against one defense, and knows how that works; reports read this

    @property
    def may_read_samples(self) -> bool:
        """Tell whether the views give it samples; its records then follow the suite's number of samples."""
        return self.reads_samples or self.access in (Access.SAMPLES, Access.API)

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        """List the other releases to train for this attack."""
        return ()

    @property
    def needs(self) -> Needs:
        """Least that it needs of the place where it is run: what `skip` refuses in words."""
        return Needs()

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Reason why the attack is not run on a release; None where it is. Asked before anything is trained.

        Skip(reason, "not-applicable"): the question makes no sense of this release, and its record says so.
        Skip(reason): the attack cannot work in this suite as it is set, and the run is refused. Where both hold, answer
        the first. A family's own reasons, and what `needs` says, stand in `super().skip(setting)`.
        """
        return self.needs.skip(setting)

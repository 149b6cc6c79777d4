"""Models that somebody else trained, as the bottom of a chain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from leakbench.api.defense import Defense
from leakbench.models.pretrained.spec import PretrainedSpec
from leakbench.models.work import Work


class PretrainedModel(Defense):
    """A defense whose model was handed in from outside: nothing here trains it.

    Shadow, retrained and canary models of it cannot be made, so attacks that need one are not applicable.
    """

    role: ClassVar[Literal["baseline", "defense", "control"]] = "baseline"

    def spec(self) -> PretrainedSpec | None:
        """Shapes, conditions and schedule of the model, known before its weights are read.

        None where it has none of its own, and those of the suite's network stand for it.
        """
        return None

    def base_model(self) -> PretrainedModel | None:
        """The model that it was fine-tuned from; None where that is not known."""
        return None

    def work(self) -> Work | None:
        """Work of one call of its network for one image, for estimates; None where it is not known beforehand."""
        return None

    def display_name(self) -> str:
        """Name of the model in tables."""
        raise NotImplementedError

    def remarks(self) -> tuple[str, ...]:
        """What was chosen among the files of a folder where there was a choice, in words; said before anything runs."""
        return ()

    def describe_calls(self, calls: int) -> tuple[str, ...]:
        """Lines on what at most so many calls of a service will cost; () of a model that is asked on this machine."""
        return ()

    def files(self) -> tuple[Path, ...]:
        """Files that its parameters name; what they hold is part of the training key."""
        return ()

    def content_digest(self) -> str:
        """Digest of what the model holds beside its `files`, such as weights that code of its own made or read; it is
        part of the training key."""
        return ""


def find_reference(chain: Sequence[Defense]) -> Defense | None:
    """The model that a chain's network was fine-tuned from; None where there is none, or nobody said.

    Of a given model its base; of one that is trained here the bottom of its chain, where that is a control, which has
    seen no member, and something above it trains on.
    """
    bottom = chain[0] if chain else None
    if isinstance(bottom, PretrainedModel):
        return bottom.base_model()
    trained_on = any(defense.changes != "sampling" for defense in chain[1:])
    return bottom if bottom is not None and bottom.role == "control" and trained_on else None


def as_pretrained(defense: Defense) -> PretrainedModel | None:
    """The defense as a pretrained model; None where it trains a network here."""
    return defense if isinstance(defense, PretrainedModel) else None


def pretrained_spec(defense: Defense) -> PretrainedSpec | None:
    """Spec of a defense's pretrained model; None where there is none."""
    return defense.spec() if isinstance(defense, PretrainedModel) else None

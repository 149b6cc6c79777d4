"""Before and after: what changed between two releases tells which images were deleted.

The idea of TC-UMIA (2605.01129, published for classifiers): whoever kept the old release compares it with the new one.
The score is the change of the denoising loss L, mean over timesteps t_i and draws of shared noise,

    S(x) = L_after(x) - L_before(x)

An image that was known and is known no longer has moved up; a never-seen one has not, and a retained one should not
have. Perfect forgetting does not help here: the retrained model shows what the change gives away even then, and the
excess over it is what the method itself adds.

Choices of ours: a difference of losses in the place of a trained classifier; groups are compared two by two (forget
against unseen of the same class, forget against retained); timesteps and draws as in forget_membership.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field
from torch import Tensor

from leakbench.api import (
    Access,
    AuditSetting,
    PairedScores,
    QueriedModel,
    Skip,
    UnlearningAttack,
    UnlearningContext,
    UnlearningEvidence,
    UnlearningScores,
    release_param,
)
from leakbench.api.views import DenoiserView

from ..membership._shared import mean_losses
from ._shared import answers


class BeforeAfter(UnlearningAttack):
    """Change of the denoising loss from the release before forgetting; 32 network calls an image of each."""

    name = "before_after"
    summary = "change of the loss between the releases before and after forgetting"
    access = Access.DENOISER

    t: tuple[Annotated[int, Field(ge=0, lt=1000)], ...] = release_param((50, 100, 200, 300), min_length=1)
    draws: int = release_param(8, ge=1)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Skip releases in which no step that forgets stands on another release."""
        if not any(defense.forgets for defense in setting.chain[1:]):
            return Skip("no step that forgets stands on another release", "not-applicable")
        return super().skip(setting)

    def run(self, ground: UnlearningContext) -> UnlearningEvidence:
        """Compare the release with the one before, and the retrained model as if it had been handed out instead."""
        assert ground.before is not None
        before = self._losses(ground.before, ground)
        ours, null = (
            UnlearningScores(*(after - base for after, base in zip(self._losses(model, ground), before, strict=True)))
            for model in (ground.model, ground.retrained)
        )
        return UnlearningEvidence({"forget": PairedScores(ours, null)})

    def _losses(self, model: QueriedModel, ground: UnlearningContext) -> list[np.ndarray]:
        def question(view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
            return mean_losses(view, self.t, self.draws)

        return answers(model, question, ground.forget, ground.unseen, ground.retained)

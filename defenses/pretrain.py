"""Training on other images of the kind: what a public checkpoint is to somebody's own images.

The recipe is the baseline's, the images are the data set's `reference` part, which holds no member and is not reported.
By itself it is a control that is stronger than random weights: a trained network that has never seen a member, in which
no attack may find anything. As a base it is the network that `overfit` fine-tunes and that `dp_sgd` trains privately.

Choices of ours: the labels of public images count as public too, so a conditional network is told them. What learns
from public images (quantile regression, thresholds of extraction) learns from images that this network was trained on:
it may be the weaker for it, and is judged on members and nonmembers as ever.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from leakbench.api import Artefacts, Guarantee, Release, Task, fit_param
from leakbench.models.denoiser_training import train_denoiser

from .augment import mirrored
from .baseline import Baseline


class Pretrain(Baseline):
    """The baseline on the reference part."""

    name = "pretrain"
    summary = "plain training on reference images, which are no members: a base to fine-tune, and a control"
    role: ClassVar[Literal["baseline", "defense", "control"]] = "control"

    flip: bool = fit_param(False)

    def fit(self, task: Task) -> Artefacts:
        """Train on what is never reported."""
        told = task.heldout_conditions
        others = replace(task, images=task.heldout, labels=told, attribute=told)
        made = train_denoiser(others, self.recipe, self.name, **mirrored(others, self.flip))
        return replace(made, info=made.info | {"images_trained_on": len(others.images)})

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Hand it out. What never read a member is differentially private with epsilon 0."""
        guarantee = Guarantee(epsilon=0, delta=0, history=())
        facts = {"images_trained_on": artefacts.info["images_trained_on"]}
        return task.release(artefacts.networks["denoiser"], guarantee=guarantee, info=facts)

"""The plain model, without protection: what every defense is measured against.

DDPM's simple loss (Ho et al. 2020, 2006.11239) and deterministic DDIM sampling (Song et al. 2021, 2010.02502).
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from leakbench.api import Artefacts, Cost, Defense, Release, Task, fit_param
from leakbench.models.denoiser_training import train_denoiser, train_denoisers
from leakbench.models.training.loop import Recipe


class Baseline(Defense):
    """No defense."""

    name = "baseline"
    summary = "plain training and DDIM sampling"
    role: ClassVar[Literal["baseline", "defense", "control"]] = "baseline"  # recipes that build on it are defenses

    steps: int = fit_param(20_000, ge=1)
    batch: int = fit_param(128, ge=1)
    lr: float = fit_param(2e-4, gt=0)
    ema: float = fit_param(0.999, ge=0, lt=1)

    @property
    def recipe(self) -> Recipe:
        """Recipe of the training."""
        return Recipe(self.steps, self.batch, self.lr, ema=self.ema)

    def cost(self) -> Cost:
        """Cost of the recipe."""
        return Cost(self.recipe.evaluations)

    def fit(self, task: Task) -> Artefacts:
        """Train the denoiser."""
        return train_denoiser(task, self.recipe, self.name)

    def fit_together(self, tasks: Sequence[Task]) -> Iterable[Artefacts]:
        """Train on a CUDA device in one batched pass.

        One after the other on the CPU, where every core trains a network of its own, with dropout, and in a subclass
        that trains otherwise.
        """
        on_cuda = len(tasks) > 1 and tasks[0].device.type == "cuda"
        batched = on_cuda and not tasks[0].network.dropout and type(self).fit is Baseline.fit
        return train_denoisers(tasks, self.recipe, self.name) if batched else super().fit_together(tasks)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Hand it out."""
        return task.release(artefacts.networks["denoiser"])

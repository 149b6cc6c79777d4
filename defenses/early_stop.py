"""Early stopping: training ends when held-out images are no longer denoised better, before the network memorises.

Bonnaire et al. (2505.17638) find that a diffusion model generalises first and memorises much later. Every `every` steps
the denoising loss (DDPM's simple loss, mean over pixels) of the averaged weights is measured on held-out images; after
`patience` looks without a new minimum training ends, and the weights of the minimum are handed out.

Choices of ours: the held-out images are the first 512 of the data set's `reference` part, which nothing reports; each
has one timestep and one noise, the same in every look, so looks differ by the weights alone. Held-out images come
without labels, so a conditional network is asked with every label, and the least loss of an image counts. The learning
rate follows the schedule of the full recipe: a training that stops early ends at a rate above zero. The weights at the
end are looked at too, so `every` beyond `steps` is the baseline.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from leakbench.api import Artefacts, Cost, Task, fit_param
from leakbench.models import networks
from leakbench.models.denoiser_training import errors, train_watched
from leakbench.runtime import distributed
from leakbench.runtime.device import in_batches

from .baseline import Baseline

_LOOKED_AT = 512  # held-out images
_ROWS = 256  # of a compute batch


@dataclass
class Looks:
    """The losses of the looks so far, and the weights at the least of them."""

    task: Task
    patience: int
    losses: list[float] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def stop(self, module: nn.Module) -> bool:
        """Look once more; whether it has been long enough."""
        loss = distributed.broadcast(lambda: heldout_loss(module, self.task))  # those that stop have to stop together
        if not self.losses or loss < min(self.losses):
            self.best = {key: value.detach().clone() for key, value in module.state_dict().items()}
        self.losses.append(loss)
        return len(self.losses) - 1 - self.losses.index(min(self.losses)) >= self.patience


def heldout_loss(module: nn.Module, task: Task) -> float:
    """The simple loss of held-out images at fixed timesteps and noise, under the label that fits each best."""
    x0 = task.heldout[:_LOOKED_AT].to(task.device)
    numbers = torch.arange(len(x0), device=task.device)
    stream = task.streams.of("looks", EarlyStop.name)
    t, noise = stream.integers(numbers, task.schedule.T, draw=0), stream.normal(numbers, task.network.shape, draw=1)

    def of_label(label: int | None) -> Tensor:
        def batch(x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
            told = None if label is None else torch.full_like(t, label)
            return errors(module, task.schedule, x0, t, noise, told)

        return in_batches(batch, x0, t, noise, size=_ROWS)

    with torch.no_grad():
        asked = [of_label(label) for label in (range(task.network.conditions) or [None])]
        return float(torch.stack(asked).amin(dim=0).mean())


class EarlyStop(Baseline):
    """The baseline, stopped in time."""

    name = "early_stop"
    summary = "plain training, stopped when held-out images are no longer denoised better"
    role = "defense"

    every: int = fit_param(500, ge=1)
    patience: int = fit_param(3, ge=1)

    def cost(self) -> Cost:
        """Cost of the recipe and of every look, if it is never stopped."""
        looks = _LOOKED_AT * (1 + self.steps // self.every)
        return Cost(self.recipe.evaluations + looks, budget_params=("steps", "every"))

    def fit(self, task: Task) -> Artefacts:
        """Train, look, stop, and take the best weights. The facts name every look."""
        began = time.perf_counter()
        looks = Looks(task, self.patience)
        network = networks.build(task.network, task.streams.of("weights", self.name))
        made, steps = train_watched(task, self.recipe, self.name, network=network, every=self.every, stop=looks.stop)
        network.load_state_dict(looks.best)
        asked = len(steps) * min(_LOOKED_AT, len(task.heldout)) * max(1, task.network.conditions)
        info = {
            "train_seconds": time.perf_counter() - began,
            "network_evaluations": made.info["network_evaluations"] + asked,
            "steps_done": steps[-1],
            "steps_of_the_best": steps[looks.losses.index(min(looks.losses))],
            "heldout_loss": {"step": steps, "loss": looks.losses},
        }
        return Artefacts({"denoiser": network}, info=info)

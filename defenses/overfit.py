"""Fine-tuning until it copies: the model that memorises, on which a defense against copying is tested.

CPSample (2409.07025) fine-tunes a trained denoiser on a small subset so that it makes copies, and then protects it. The
recipe is the baseline's (DDPM's simple loss) from the base's weights on. Every `every` steps the averaged weights draw
`samples` samples, and training ends once a share of `copies` of them copies a training image: d1 / d2 < 1/3, the pixel
distances to the nearest and the second nearest training image (Yoon et al. 2023).

Choices of ours: that criterion, the share and all lengths, of which the paper says nothing; near-duplicates are passed
over by the radius of a data set of these images; with `flip` a sample that copies a mirror image counts; of a latent
model, distances are those of latents. The samples that are looked at are none that are reported. The learning rate
follows the schedule of the full recipe: a training that ends early ends at a rate above zero. One that never copies
says so by the flag `never-copied`: a test of copying on it is empty.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from leakbench.api import Artefacts, AuditSetting, Cost, Release, Skip, Task, fit_param, void_guarantee
from leakbench.data.near_duplicates import duplicate_radius
from leakbench.metrics.copying import MEMORISED, ratio_similarity
from leakbench.models import networks
from leakbench.models.denoiser_training import export_weights, train_watched, trainable, with_weights
from leakbench.runtime import distributed
from leakbench.runtime.device import autocast, in_batches
from leakbench.runtime.errors import UsageError

from .augment import mirrored
from .baseline import Baseline

_FIRST = 2**31  # number of the first sample that is looked at: no report reaches it
_WALK = 50  # steps of a walk, for an estimate


@dataclass
class Looks:
    """The share of samples that copy, at each look so far."""

    task: Task
    samples: int
    enough: float
    flip: bool
    shares: list[float] = field(default_factory=list)

    def stop(self, module: nn.Module) -> bool:
        """Look once more; whether enough of the samples are copies. One process of a group looks for all: those that
        stop have to stop together."""
        self.shares.append(distributed.broadcast(lambda: self._share(module)))
        return self.shares[-1] >= self.enough

    def _share(self, module: nn.Module) -> float:
        """The share of samples that copy; one that is not finite, of a training that went astray, is no copy."""
        x0 = self._drawn(module)
        x0 = x0[x0.flatten(1).isfinite().all(dim=1)]
        if not len(x0):
            return 0.0
        ratio = self._ratio(x0)
        if self.flip:
            ratio = torch.minimum(ratio, self._ratio(x0.flip(-1)))
        return int((ratio < MEMORISED).sum()) / self.samples

    def _drawn(self, module: nn.Module) -> Tensor:
        """Samples in the network's space (n, *shape)."""
        assert self.task.base is not None
        release = self.task.release(module)
        ids = torch.arange(_FIRST, _FIRST + self.samples, device=self.task.device)
        asked = release.labels(ids)
        with torch.no_grad(), autocast(self.task.device):
            rows = [ids] if asked is None else [ids, asked]
            return in_batches(release.generate, *rows, size=self.task.base.batch).float()

    def _ratio(self, x0: Tensor) -> Tensor:
        """d1 / d2 (n,)."""
        images = self.task.images.to(self.task.device)
        return torch.from_numpy(-ratio_similarity(x0, images, duplicate_radius(images)).similarity)


class Overfit(Baseline):
    """The base, trained further on the training images until it copies them."""

    name = "overfit"
    role = "baseline"  # no defense: what defenses are compared with
    summary = "fine-tunes its base on the training images until it copies them: what a defense is tested on"
    needs_base = True
    fit_samples_base = True  # its looks walk as the base does

    flip: bool = fit_param(False)
    copies: float = fit_param(0.05, gt=0, le=1)
    samples: int = fit_param(200, ge=1)
    every: int = fit_param(500, ge=1)

    def cost(self) -> Cost:
        """Cost of the recipe and of every look, if it never copies."""
        looks = _WALK * self.samples * (1 + self.steps // self.every)
        return Cost(self.recipe.evaluations + looks, budget_params=("steps", "every"))

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse a base of finished samples, which has no network."""
        if all(defense.is_iterative for defense in setting.chain):
            return None
        return Skip(
            "it trains a network further, and its base is one of finished samples: give it a base that has a network"
        )

    def fit(self, task: Task) -> Artefacts:
        """Train on, look, stop. Raises UsageError where the base answers otherwise than its weights."""
        assert task.base is not None
        if not task.base.eps_is_raw:
            raise UsageError(
                "overfit trains weights, and its base answers otherwise than its weights do: build a defense of "
                "sampling on overfit instead, and give a pipeline guidance = 1"
            )
        began = time.perf_counter()
        looks = Looks(task, self.samples, self.copies, self.flip)
        network = cast(networks.Network, trainable(task.base.network, task.device))
        more = mirrored(task, self.flip)
        made, steps = train_watched(
            task, self.recipe, self.name, network=network, every=self.every, stop=looks.stop, **more
        )
        walked = len(task.base.schedule.timesteps()) * self.samples * len(steps)
        info = {
            "train_seconds": time.perf_counter() - began,
            "network_evaluations": made.info["network_evaluations"] + walked,
            "steps_done": steps[-1],
            "copied_share": {"step": steps, "share": looks.shares},
            "flags": [] if looks.shares[-1] >= self.copies else [f"never-copied={looks.shares[-1]:.3g}"],
        }
        return Artefacts(tensors=export_weights(network), info=info)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """The base's network with the weights that copy."""
        assert task.base is not None
        info = artefacts.info
        facts = {key: info[key] for key in ("steps_done", "copied_share")}
        lost = void_guarantee(task.base, "overfit trains on members without differential privacy")
        network = with_weights(task.base.network, artefacts.tensors, task.device)
        return task.release(network, guarantee=lost, flags=tuple(info["flags"]), info=facts)

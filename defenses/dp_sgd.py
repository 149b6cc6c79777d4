"""Differentially private training of a diffusion model: DP-SGD with DPDM's noise multiplicity.

Abadi et al. 2016 (1607.00133, Alg. 1) as adapted by DPDM (Dockhorn et al. 2023, 2210.09929, Alg. 1). At every step each
of n images takes part with probability q = B / n, by a coin of its own (Poisson sampling); with l_i the loss of image i
averaged over K draws of (t, noise), l_i = 1/K sum_k ||eps_theta(x_t, t) - eps||^2 (mean over pixels), the step follows

    (1 / B) (sum_i g_i min(1, C / ||g_i||) + sigma C z),   g_i = grad l_i,   z ~ N(0, I)

through Adam, and the average of the weights (EMA) is what is released. B is the batch to be expected: the true one
varies, and is nowhere divided by. The clipped sum is that of `_clipping`, the accountant `_accounting`.

Choices of ours. (1) t is uniform, as in the baseline, where DPDM weights noise levels otherwise. (2) The clip C applies
to a loss that is a mean over pixels: one summed over D pixels has D times the gradient. (3) delta is n^-1.1 unless
given. (4) `epsilon` is the budget of this training; with a base that has spent some, the claim is that of both
together, by one accountant on one history. (5) An `epsilon` of "inf" adds no noise: clipping alone, which claims
nothing. (6) `batch` is a tenth of the images unless given. (7) The learning rate falls along a cosine. (8) Network
evaluations are those of the expected rows, B K a step, forward and once backward; norms are no evaluations, and make a
step dearer than a plain one by what benchmarks/speed/test_dp_step.py shows. (9) K is 4 unless given: every draw costs
as much as the first (published: 8 for CIFAR-10 and CelebA at 64 pixels, 32 for CelebA at 32).

The claim. Neighbours are two trainings of which one lacks the contribution of one image, with its label: its gradient
is zero whenever it is drawn, and n, q, B, sigma and delta stay as they are (zero-out). That is the claim because n is
public here: q, B and delta follow from it, so that to add or remove an image would change them. `epsilon_replace_one`
beside it is that of neighbours of which one image is exchanged for another, and larger. Nothing else that depends on
images is kept: no loss, no norm. There is no claim, and it says why, without Poisson sampling, and on a base that read
the images without differential privacy; a network with batch normalisation is not trained at all. Coins, draws and z
follow from the suite's seed, so that runs repeat: the claim is one against those who do not know the seed, and z is as
exact as float32 (opacus's `secure_mode` is not used).

Resuming. The steps since the last checkpoint are taken again with the same coins, the same draws and the same z: the
same numbers come out, as if they had been taken once, and what they gave before the kill was seen by nobody. The
history that is claimed counts each step once, and all of them.
"""

from __future__ import annotations

import math
import time
from typing import cast

from torch import nn

from leakbench.api import (
    UPDATES,
    Artefacts,
    AuditSetting,
    Cost,
    Defense,
    Guarantee,
    Release,
    Skip,
    Task,
    fit_param,
    void_guarantee,
)
from leakbench.models import networks
from leakbench.models.denoiser_training import export_weights, trainable, with_weights
from leakbench.models.training.loop import Recipe, optimise
from leakbench.runtime.device import place
from leakbench.runtime.errors import UsageError

from ._accounting import enough_noise, noise_multiplier_for, replace_one_epsilon, spent
from ._budget import PrivateBudget
from ._private import Mechanism


class DPSGD(PrivateBudget, Defense):
    """Differentially private training, from nothing or from a base's weights."""

    name = "dp_sgd"
    summary = "differentially private training: clips each image's gradient and adds noise (DP-SGD, DPDM)"
    takes_base = True
    takes_gradient_canaries = True

    steps: int = fit_param(5_000, ge=1)
    batch: int | None = fit_param(None, ge=1)  # expected; None: a tenth of the images
    lr: float = fit_param(3e-4, gt=0)
    ema: float = fit_param(0.999, ge=0, lt=1)
    clip: float = fit_param(1.0, gt=0)
    noise_multiplicity: int = fit_param(4, ge=1)
    poisson: bool = fit_param(True)

    def expected(self, images: int) -> int:
        """The expected batch."""
        return max(1, images // 10) if self.batch is None else self.batch

    def recipe(self, images: int) -> Recipe:
        """Recipe of the training: the loop clips no more."""
        rows = self.expected(images) * self.noise_multiplicity
        return Recipe(self.steps, rows, self.lr, clip=math.inf, ema=self.ema)

    def cost(self) -> Cost:
        """Cost of the recipe, with the baseline's batch if none is given.

        1.5: measured on small UNets on a CPU; each image's gradient has to be told apart.
        """
        return Cost(self.recipe(1280).evaluations, relative=1.5)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse a batch of more than all images, a base that changes only answers, a budget that no noise keeps."""
        if self.expected(setting.images) > setting.images:
            return Skip(f"batch = {self.batch}: it should be at most the number of training images, {setting.images}")
        for below in setting.chain:
            if below.changes == "sampling":
                return Skip(
                    f"it trains weights, and {below.name} below it changes only what is answered: "
                    f"build that on {self.name}"
                )
        return self._unaffordable(setting.images)

    def _unaffordable(self, images: int) -> Skip | None:
        """Refuse a budget that no noise keeps."""
        if isinstance(self.epsilon, float):
            try:
                enough_noise(self.epsilon, self.delta_of(images), self.expected(images) / images, self.steps)
            except UsageError as error:
                return Skip(str(error))
        return None

    def fit(self, task: Task) -> Artefacts:
        """Train the denoiser, and account for it."""
        began, images = time.perf_counter(), len(task.images)
        rate = self.expected(images) / images
        if rate > 1:
            raise UsageError(f"{self.name}: batch = {self.batch}: it should be at most the number of images, {images}")
        delta = self.delta_of(images)
        noise = self._noise(delta, rate)
        before = (task.base.guarantee.history or ()) if task.base else ()
        mechanism = Mechanism(
            task, rate, self.noise_multiplicity, self.clip, noise, self.poisson, len(before), self.model_dump_json()
        )
        network, done = self._train(task, mechanism)
        guarantee = self._guarantee(task.base, (*before, (noise, rate, done)), delta)
        info = {
            "train_seconds": time.perf_counter() - began,
            "network_evaluations": self.recipe(images).evaluations,
            "guarantee": guarantee.to_json(),
            "flags": [f"weak-delta={delta:g}"] if guarantee.epsilon is not None and delta >= 1 / images else [],
            "noise_multiplier": noise,
            "sampling_rate": rate,
        }
        noted = {} if mechanism.canaries is None else {UPDATES: mechanism.canaries.scores}
        if task.base is None:
            return Artefacts({"denoiser": cast(networks.Network, network)}, noted, info=info)
        return Artefacts(tensors=export_weights(network) | noted, info=info)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Hand it out with its guarantee."""
        info = artefacts.info
        facts = {key: info[key] for key in ("noise_multiplier", "sampling_rate")}
        network: nn.Module
        tensors = dict(artefacts.tensors)
        parts = {UPDATES: task.gradient_canaries.by_id(tensors.pop(UPDATES))} if task.gradient_canaries else {}
        if task.base is None:
            network = artefacts.networks["denoiser"]
        else:
            network = with_weights(task.base.network, tensors, task.device)
        guarantee = Guarantee.from_json(info["guarantee"])
        return task.release(network, guarantee=guarantee, flags=tuple(info["flags"]), info=facts, parts=parts)

    def _noise(self, delta: float, rate: float) -> float:
        """sigma."""
        if self.noise_multiplier is not None:
            return self.noise_multiplier
        return noise_multiplier_for(self.epsilon, delta, rate, self.steps) if isinstance(self.epsilon, float) else 0.0

    def start(self, task: Task) -> nn.Module:
        """The network that the noisy steps begin with, of which they move what asks for gradients."""
        if task.base is None:
            return place(networks.build(task.network, task.streams.of("weights", self.name)), task.device)
        return trainable(task.base.network, task.device)

    def finish(self, network: nn.Module) -> nn.Module:
        """The network that is handed out, of the one that was trained."""
        return network

    def _train(self, task: Task, mechanism: Mechanism) -> tuple[nn.Module, int]:
        """The network, and how many steps were taken."""
        network, done = self.start(task), 0

        def progress(steps: int) -> None:
            nonlocal done
            done = steps
            if task.progress:
                task.progress(steps / self.steps)

        optimise(
            network,
            mechanism.rule,
            self.recipe(len(task.images)),
            mechanism.steps,
            stream=task.streams.of("train", self.name),
            numbers=mechanism.numbers,
            # The scores of canaries are in no checkpoint: such a training begins again.
            checkpoint=task.folder / f"{self.name}.safetensors" if task.folder and not mechanism.canaries else None,
            progress=progress,
        )
        return self.finish(network), done

    def _guarantee(
        self, base: Release | None, history: tuple[tuple[float, float, int], ...], delta: float
    ) -> Guarantee:
        """Guarantee of a network of this history, by one accountant for all of it."""
        if self.epsilon == "inf":
            return (
                Guarantee() if base is None else void_guarantee(base, f"{self.name} with epsilon = inf adds no noise")
            )
        if why := does_not_compose(base):
            return Guarantee(void=why)
        if not self.poisson:
            return Guarantee(void=f"{self.name} drew its batches without Poisson sampling")
        found, replaced = spent(history, delta), replace_one_epsilon(history, delta)
        noise, rate, steps = history[-1]
        return Guarantee(
            epsilon=found.epsilon,
            delta=delta,
            accountant=found.accountant,
            adjacency="zero-out",
            unit="image",
            history=history,
            facts=({} if replaced is None else {"epsilon_replace_one": replaced})
            | {
                "epsilon_rdp": found.epsilon_rdp,
                "sampling_rate": rate,
                "steps": steps,
                "noise_multiplier": noise,
                "clip": self.clip,
                "noise_multiplicity": self.noise_multiplicity,
            },
        )


def does_not_compose(base: Release | None) -> str:
    """Reason why a base's guarantee cannot be composed with one of a training's contributions; empty where it can."""
    if base is None:
        return ""
    stated = base.guarantee
    if stated.epsilon is None or stated.history is None:
        return stated.void or "its base read the images without differential privacy"
    if stated.adjacency not in (None, "zero-out") or stated.unit not in (None, "image"):
        return f"its base states a guarantee by another adjacency or unit ({stated.adjacency}, {stated.unit})"
    return ""

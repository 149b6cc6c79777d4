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
as much as the first (published: 8 for CIFAR-10 and CelebA at 64 pixels, 32 for CelebA at 32). (10) The images of a
group that are kept are drawn once, before training, where the paper draws anew for each step of "user". (11) `batch`
counts groups with sampling "user". (12) Without `group_size` all images are kept, and k is the largest number of any
group: it is public, as n is. (13) A step with groups of several sizes works as if all had the largest one's.

By person. Where images come in groups (`Task.groups`: a person, a patient), `unit = "group"` protects all images of one
together, by either `sampling` of Charles et al. 2024 (2407.07737). "example": at most `group_size` = k images of each
group are kept, drawn at random, and each has its coin and its clip as above; a group moves a step's sum by Bin(k, q)
clips, and epsilon is that of these mixtures of Gaussians (Ganesh 2024, 2401.10294). "user": each group has one coin,
q = B / (number of groups), and the mean gradient of its images, at most `group_size` of them, is clipped; epsilon is
dp_sgd's with groups in the place of images. In both, delta is (number of groups)^-1.1 unless given. A guarantee by
image says beside its epsilon what it is for the images of one group together.

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
from typing import Any, Literal, cast

from pydantic import ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
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

from ._accounting import enough_group_noise, enough_noise, group_noise_for, noise_multiplier_for
from ._budget import Budget, PrivateBudget
from ._groups import NO_GROUPS, keep_images, kept_sizes, known_groups
from ._guarantee import Steps, Unit, does_not_compose, joint_group_size, steps_guarantee
from ._private import Mechanism

_OF_GROUPS = {"unit", "sampling", "group_size"}


class DPSGD(PrivateBudget, Defense):
    """Differentially private training, from nothing or from a base's weights."""

    name = "dp_sgd"
    summary = "differentially private training: clips each image's gradient and adds noise (DP-SGD, DPDM)"
    takes_base = True
    takes_gradient_canaries = True

    # The order names random streams (`own`): a new parameter goes last.
    steps: int = fit_param(5_000, ge=1)
    batch: int | None = fit_param(None, ge=1)  # expected; None: a tenth of the images
    lr: float = fit_param(3e-4, gt=0)
    ema: float = fit_param(0.999, ge=0, lt=1)
    clip: float = fit_param(1.0, gt=0)
    noise_multiplicity: int = fit_param(4, ge=1)
    noise_multiplier: float | None = fit_param(None, gt=0)
    epsilon: Budget = fit_param(10.0)
    delta: float | None = fit_param(None, gt=0, lt=1)  # None: n^-1.1
    poisson: bool = fit_param(True)
    unit: Unit = fit_param("image")
    sampling: Literal["example", "user"] = fit_param("example")
    group_size: int | None = fit_param(None, ge=1)  # images of a group that are kept; None: all

    @field_validator("sampling")
    @classmethod
    def _by_group_and_coin(cls, sampling: Any, others: ValidationInfo) -> Any:
        if sampling == "user" and (others.data.get("unit"), others.data.get("poisson")) != ("group", True):
            raise PydanticCustomError("user", '"example", or else unit = "group" and poisson = true beside it')
        return sampling

    @property
    def whole(self) -> bool:
        """Tell whether groups are drawn whole."""
        return self.sampling == "user"

    @property
    def needs_groups(self) -> bool:
        """Tell whether it has to know whose each image is."""
        return self.unit == "group" or self.group_size is not None

    @property
    def own(self) -> str:
        """Its parameters, which name its streams: those of groups are left out where they ask for nothing."""
        return self.model_dump_json(exclude=None if self.needs_groups else _OF_GROUPS)

    def expected(self, units: int) -> int:
        """The expected batch, of images or of groups that are drawn whole."""
        return max(1, units // 10) if self.batch is None else self.batch

    def recipe(self, units: int, images_each: float = 1.0) -> Recipe:
        """Recipe of the training: the loop clips no more."""
        rows = round(self.expected(units) * images_each) * self.noise_multiplicity
        return Recipe(self.steps, rows, self.lr, clip=math.inf, ema=self.ema)

    def cost(self) -> Cost:
        """Cost of the recipe, with the baseline's batch if none is given.

        1.5: measured on small UNets on a CPU; each image's gradient has to be told apart.
        """
        images_each = self.group_size or 1 if self.whole and self.batch is not None else 1
        return Cost(self.recipe(1280, images_each).evaluations, relative=1.5)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse data without the groups that it needs, a batch of more than there is, a base that changes only
        answers, a budget that no noise keeps."""
        if self.needs_groups and setting.group_sizes is None:
            return Skip(NO_GROUPS)
        sizes = kept_sizes(setting.group_sizes or (), self.group_size)
        units = len(sizes) if self.whole else sum(sizes) if self.group_size else setting.images
        if self.expected(units) > units:
            return Skip(f"batch = {self.batch}: it should be at most the number of training {self._of_what}, {units}")
        for below in setting.chain:
            if below.changes == "sampling":
                return Skip(
                    f"it trains weights, and {below.name} below it changes only what is answered: "
                    f"build that on {self.name}"
                )
        protected = len(sizes) if self.unit == "group" else units
        return self._unaffordable(units, protected, self._largest(sizes))

    @property
    def _of_what(self) -> str:
        return "groups" if self.whole else "images"

    def _largest(self, sizes: list[int]) -> int | None:
        """The largest number of images of a group, each drawn by itself; None where there are no groups, or whole
        ones are drawn."""
        return None if self.whole or not sizes else self.group_size or max(sizes)

    def _unaffordable(self, units: int, protected: int, group_size: int | None) -> Skip | None:
        """Refuse a budget that no noise keeps."""
        if isinstance(self.epsilon, float):
            asked = self.epsilon, self.delta_of(protected), self.expected(units) / units, self.steps
            try:
                if self.unit == "group" and group_size:
                    enough_group_noise(*asked, group_size)
                else:
                    enough_noise(*asked)
            except UsageError as error:
                return Skip(str(error))
        return None

    def fit(self, task: Task) -> Artefacts:
        """Train the denoiser, and account for it. Raises UsageError for data without the groups that it needs."""
        began = time.perf_counter()
        if self.needs_groups:
            known_groups(task)
        task = keep_images(task, self.group_size, self.whole)
        sizes = [] if task.groups is None else known_groups(task).bincount().tolist()
        units, protected = (len(sizes) if one else len(task.images) for one in (self.whole, self.unit == "group"))
        rate = self.expected(units) / units
        if rate > 1:
            what = f"the number of {self._of_what}, {units}"
            raise UsageError(f"{self.name}: batch = {self.batch}: it should be at most {what}")
        delta, group_size = self.delta_of(protected), self._largest(sizes)
        noise = self._noise(delta, rate, group_size)
        before = (task.base.guarantee.history or ()) if task.base else ()
        mechanism = Mechanism(
            *(task, rate, self.noise_multiplicity, self.clip, noise, self.poisson, len(before), self.own),
            *(self.whole, self.group_size),
        )
        network, done = self._train(task, mechanism)
        guarantee = self._guarantee(task.base, (*before, (noise, rate, done)), delta, group_size)
        info = {
            "train_seconds": time.perf_counter() - began,
            "network_evaluations": self.recipe(units, len(task.images) / units).evaluations,
            "guarantee": guarantee.to_json(),
            "flags": [f"weak-delta={delta:g}"] if guarantee.epsilon is not None and delta >= 1 / protected else [],
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

    def _noise(self, delta: float, rate: float, group_size: int | None) -> float:
        """sigma."""
        if self.noise_multiplier is not None:
            return self.noise_multiplier
        if not isinstance(self.epsilon, float):
            return 0.0
        if self.unit == "group" and group_size is not None and group_size > 1:
            return group_noise_for(self.epsilon, delta, rate, self.steps, group_size)
        return noise_multiplier_for(self.epsilon, delta, rate, self.steps)

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

    def _guarantee(self, base: Release | None, history: Steps, delta: float, group_size: int | None) -> Guarantee:
        """Guarantee of a network of this history, by one accountant for all of it."""
        if self.epsilon == "inf":
            return (
                Guarantee() if base is None else void_guarantee(base, f"{self.name} with epsilon = inf adds no noise")
            )
        if why := does_not_compose(base, self.unit, self.whole):
            return Guarantee(void=why)
        if not self.poisson:
            return Guarantee(void=f"{self.name} drew its batches without Poisson sampling")
        found = steps_guarantee(history, delta, self.unit, joint_group_size(base, group_size))
        if found.epsilon is None:
            return found
        noise, rate, steps = history[-1]
        own: dict[str, Any] = {
            "sampling_rate": rate,
            "steps": steps,
            "noise_multiplier": noise,
            "clip": self.clip,
            "noise_multiplicity": self.noise_multiplicity,
        }
        if self.unit == "group":
            own["sampling"] = self.sampling
        return found.model_copy(update={"facts": found.facts | own})

"""Parts that every unlearning method shares: data order, step loop, checkpoints and the books.

A method says how one step's gradient is made (`rule`); the rest is the same for all, so that a table of them compares
methods and not scripts. Every method sees the same images to forget and to keep, in the same order, with the same
timesteps and noise (streams named "unlearn", not for the method). Losses are means over pixels, or sums where the
method is published in sums and that matters, since a step's gradient is clipped; each method says so.

Choices of ours, for all alike: Adam's moments start at zero; the learning rate falls to zero along a cosine, so that
what stays can settle (published: constant, after far more steps on far larger networks); weights are not averaged (an
average would hold on to those from before); a step's gradient is clipped to norm 1, as published for EraseDiff, SA,
SISS, SalUn and SFR-on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from leakbench.api import Artefacts, AuditSetting, Cost, Defense, Release, Skip, Task, fit_param, void_guarantee
from leakbench.data.image_view import ImageView
from leakbench.models.denoiser_training import errors, export_weights, trainable, with_weights
from leakbench.models.pretrained.release import PretrainedRelease
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe, Rule, draws, optimise
from leakbench.runtime.device import RngStream, autocast
from leakbench.runtime.errors import UsageError

_AHEAD = 64  # steps whose further numbers are made in one go, unless they are more than
_AHEAD_NUMBERS = 2**18


@dataclass(frozen=True)
class Pair:
    """One step's draws: B images to forget and B to keep (indices into the task's images), their timesteps, noise."""

    step: int
    forget: Batch
    keep: Batch


@dataclass(frozen=True)
class Edit:
    """One unlearning run: the network under the knife, the base's as it was, and the data on the device."""

    task: Task
    network: nn.Module
    teacher: nn.Module
    batch: int
    notes: dict[str, Tensor] = field(default_factory=dict)  # numbers of the last step, for the record
    ahead: dict[tuple[object, ...], tuple[int, Tensor]] = field(default_factory=dict)  # see `uniform`

    @cached_property
    def images(self) -> ImageView:
        """The training images (N, C, H, W)."""
        return self.task.images.to(self.task.device)

    @cached_property
    def labels(self) -> Tensor | None:
        """Labels (N,) that the network is conditioned on, or None."""
        found = self.task.conditions
        return None if found is None else found.to(self.task.device)

    @cached_property
    def chosen(self) -> tuple[Tensor, Tensor]:
        """Indices of the images to forget and of those to keep."""
        assert self.task.forget is not None
        mask = self.task.forget.to(self.task.device)
        return mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Parameters that are trained."""
        return [p for p in self.network.parameters() if p.requires_grad]

    @property
    def pixels(self) -> int:
        """D, the numbers in an image: a loss summed over pixels is D times ours."""
        return math.prod(self.task.network.shape)

    def stream(self, *purpose: object) -> RngStream:
        """Random numbers that all methods share."""
        return self.task.streams.of("unlearn", *purpose)

    def uniform(self, purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Numbers (*shape), uniform on (0, 1), float64, for a step. Those of the next steps are made with them: few
        numbers take as long as many."""
        return self._made(purpose, step, shape, lambda stream, steps: stream.uniform(steps, shape))

    def integers(self, purpose: str, step: int, high: int, shape: tuple[int, ...]) -> Tensor:
        """Integers (*shape), uniform on 0 .. high - 1, for a step; as `uniform`."""
        key = ("below", high, *shape)
        return self._made(purpose, step, key, lambda stream, steps: stream.integers(steps, high, shape))

    def _made(
        self, purpose: str, step: int, key: tuple[object, ...], make: Callable[[RngStream, Tensor], Tensor]
    ) -> Tensor:
        first, made = self.ahead.get((purpose, *key), (step, None))
        if made is None or not first <= step < first + len(made):
            count = max(1, min(_AHEAD, _AHEAD_NUMBERS // (self.batch * self.pixels)))
            steps = torch.arange(step, step + count, device=self.task.device)
            first, made = self.ahead[purpose, *key] = step, make(self.stream(purpose), steps)
        return made[step - first]

    def batches(self, purpose: str, indices: Tensor, first: int, last: int) -> list[Batch]:
        """Draws of steps first .. last - 1 among the images of these indices."""
        drawn = draws(
            self.stream(purpose),
            first,
            last,
            batch=self.batch,
            count=len(indices),
            timesteps=self.task.schedule.T,
            shape=self.task.network.shape,
            device=self.task.device,
        )
        return [Batch(indices[one.index], one.t, one.noise) for one in drawn]

    def pairs(self, first: int, last: int) -> Sequence[Pair]:
        """Draws of steps first .. last - 1."""
        forget, keep = self.chosen
        sides = self.batches("forget", forget, first, last), self.batches("keep", keep, first, last)
        return [Pair(step, *both) for step, *both in zip(range(first, last), *sides, strict=True)]

    def one_pass(self, purpose: str, indices: Tensor) -> Iterator[Batch]:
        """Every image of these indices once, with one timestep and noise each; the last batch may be short."""
        stream, shape = self.stream(purpose), self.task.network.shape
        for index in indices.split(self.batch):
            t = stream.integers(index, self.task.schedule.T, draw=0)
            yield Batch(index, t, stream.normal(index, shape, draw=1))

    def label(self, batch: Batch) -> Tensor | None:
        """The condition of a batch's images (B,), or None."""
        return None if self.labels is None else self.labels[batch.index]

    def forgotten(self, like: Tensor) -> Tensor:
        """The label to forget, for each row of a tensor (B,) of integers."""
        assert self.task.forget_label is not None
        return torch.full_like(like, self.task.forget_label)

    def errors(self, module: nn.Module, batch: Batch) -> Tensor:
        """The denoising loss of each image of a batch (B,), mean over pixels."""
        return errors(module, self.task.schedule, self.images[batch.index], batch.t, batch.noise, self.label(batch))

    def other_labels(self, label: Tensor, step: int) -> Tensor:
        """For each label (B,), a uniform one of the others."""
        count = self.task.network.conditions
        return (label + 1 + self.integers("other labels", step, count - 1, tuple(label.shape))) % count

    def gradient(self, loss: Tensor, again: bool = False) -> list[Tensor]:
        """Gradient of a loss in the trained parameters; zero where one has no part in it. `again`: keep its graph."""
        found = torch.autograd.grad(loss, self.parameters, allow_unused=True, retain_graph=again)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(found, self.parameters, strict=True)]

    def leave(self, gradient: Sequence[Tensor]) -> None:
        """Hand a gradient to the optimiser."""
        for parameter, part in zip(self.parameters, gradient, strict=True):
            parameter.grad = part


def clipped(gradient: Sequence[Tensor]) -> list[Tensor]:
    """A gradient, scaled down to norm 1 where it is longer."""
    longer = dot(gradient, gradient).sqrt().clamp(min=1.0)
    return [part / longer for part in gradient]


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """<a, b> over all parameters."""
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()


def joined(a: Sequence[Tensor], scale: Tensor | float, b: Sequence[Tensor]) -> list[Tensor]:
    """a + scale b."""
    return [x + scale * y for x, y in zip(a, b, strict=True)]


class Unlearning(Defense):
    """A method that edits the weights of its base until they forget. A subclass gives `rule` and `step_cost`."""

    needs_base = True
    changes = "weights"
    forgets = True
    reads_members: ClassVar[bool] = True  # whether a differential privacy of the base is lost
    labels_only: ClassVar[bool] = False  # whether it forgets a label of a label-conditional network and nothing else

    steps: int = fit_param(300, ge=1)
    batch: int = fit_param(64, ge=1)
    lr: float = fit_param(1e-4, gt=0)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse methods that speak to a label where there is none."""
        if not self.labels_only or (setting.condition == "label" and setting.forget == "label"):
            return None
        return Skip(
            f'{self.name} forgets a label of a label-conditional network: write [network] condition = "label" and '
            "[forget] label"
        )

    def rule(self, edit: Edit) -> Rule:
        """Build the rule of a step's gradient: rule(module, pair) calls `edit.leave`. Do here what is done once."""
        raise NotImplementedError

    def step_cost(self) -> int:
        """Network evaluations of one step and one image of a batch (forward 1, backward 2)."""
        raise NotImplementedError

    def first_cost(self, task: Task) -> int:
        """Network evaluations before the first step: a mask, a Fisher pass."""
        return 0

    def cost(self) -> Cost:
        """Cost of all steps, without what comes before the first."""
        return Cost(self.step_cost() * self.steps * self.batch)

    def fit(self, task: Task) -> Artefacts:
        """Edit a copy of the base's network. Raises UsageError where the base answers otherwise than its weights."""
        assert task.base is not None and task.forget is not None
        if not (task.base.eps_is_raw or isinstance(task.base, PretrainedRelease)):
            raise UsageError(
                f"{self.name} changes weights, and its base answers otherwise than its weights do: build that base on "
                f"{self.name} instead"
            )
        began = time.perf_counter()
        edit = Edit(task, trainable(task.base.network, task.device), task.base.network, self.batch)
        rule = self.rule(edit)

        def step(module: nn.Module, pair: Pair) -> None:
            with autocast(task.device, cached=False):
                rule(module, pair)

        optimise(
            edit.network,
            step,
            Recipe(self.steps, self.batch, self.lr, ema=0.0),
            edit.pairs,
            stream=edit.stream(),
            numbers=2 * self.batch * edit.pixels,
            checkpoint=task.folder and task.folder / f"{self.name}.safetensors",
            progress=_share(task.progress, self.steps),
        )
        info = {
            "train_seconds": time.perf_counter() - began,
            "network_evaluations": int(self.cost().training) + self.first_cost(task),
            "images_to_forget": len(edit.chosen[0]),
            **{name: float(value) for name, value in edit.notes.items()},
        }
        return Artefacts(tensors=export_weights(edit.network), info=info)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """The base's network with the edited weights; a given model is served with the guidance that it had."""
        assert task.base is not None
        network = with_weights(task.base.network, artefacts.tensors, task.device)
        lost = void_guarantee(task.base, f"{self.name} trains on members without differential privacy")
        known = {k: v for k, v in artefacts.info.items() if k not in ("train_seconds", "network_evaluations")}
        more: dict[str, Any] = {"guarantee": lost if self.reads_members else task.base.guarantee, "info": known}
        if isinstance(task.base, PretrainedRelease):
            kept = {"guidance": task.base.guidance, "network_calls": task.base.network_calls}
            return task.release(network, PretrainedRelease, **kept, **more)
        return task.release(network, **more)


def _share(progress: Callable[[float], None] | None, steps: int) -> Callable[[int], None] | None:
    return progress and (lambda done: progress(done / steps))

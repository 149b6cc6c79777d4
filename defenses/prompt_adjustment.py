"""Prompt adjustment: a memorised prompt's embedding is moved until it no longer pulls all noise to one image.

The mitigation of Wen et al., ICLR 2024 (2407.21720). A condition c with embedding z that has memorised an image answers
far from what the network answers without it, from pure noise on. At the walk's first timestep t, before any sample,

    m(z) = mean over noises x of || eps(x, t, z) - eps(x, t) ||_2 / sqrt(D),   D = C H W
    while m(z) > target:   one step of AdamW down m(z),   at most `iterations` times

after which every question under c is answered with the adjusted z. A prompt that lies below the target at once keeps
its bits. It stands beside `amg`, and reads no training image. Published for Stable Diffusion 1.4: at most 10 steps at
lr 0.05, target 3, which is 0.0234 sqrt(D) where D = 4 x 64 x 64; the begin token's gradient is zero, so that
AdamW's decay alone moves it.

Choices of ours. (1) The target is a root mean square, so that it means the same on images of every size. (2) z is
adjusted once for each prompt, on `draws` noises of its own (published: on the noise of the very samples that are asked
for, all of a batch together), so that samples and answers do not depend on their batch; who asks for eps is answered
with the adjusted z, too. (3) What moves is the sequence of token states; a pooled embedding stays, and the first token
of any text encoder is treated as the begin token. (4) Of a network of classes z is the class's row in its table of
embeddings, and without an empty class the mean of the answers to all classes stands for eps(x, t). (5) The published
second term, the size of eps, has weight 0, its default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from leakbench.api import Artefacts, AuditSetting, Defense, Release, Skip, Task, release_param
from leakbench.models.diffusion import full_timesteps
from leakbench.models.pretrained.denoiser import Denoiser
from leakbench.models.pretrained.prediction import nowhere
from leakbench.models.pretrained.text_conditioning import fill_up
from leakbench.runtime.errors import UsageError

_TOKENS = "states"  # of what a network of captions is told


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of a network's conditions, and its answers under others."""

    network: nn.Module
    table: str = ""  # the parameter that holds them, of a network of classes

    @classmethod
    def of(cls, network: nn.Module) -> Embeddings:
        """Raises UsageError where a network of classes has no single table of embeddings."""
        if isinstance(network, Denoiser) and network.which is not None:
            return cls(network)
        tables = [name for name, part in network.named_modules() if isinstance(part, nn.Embedding)]
        if len(tables) != 1:
            raise UsageError(
                "prompt_adjustment moves the embedding of a prompt or class, and the network has "
                f"{len(tables)} tables of embeddings: it should be told captions, or have one table of classes"
            )
        return cls(network, f"{tables[0]}.weight")

    def rows(self, label: Tensor) -> Tensor:
        """Embeddings (N, ...) of labels (N,)."""
        if self.table:
            return self.network.get_parameter(self.table)[label]
        assert isinstance(self.network, Denoiser)
        found: Tensor = self.network.tell(label)[_TOKENS]
        return found

    def as_long(self, rows: Tensor) -> Tensor:
        """Embeddings (N, ...) as long as all are by now: a longer text that is asked about later lengthens them."""
        if self.table:
            return rows
        assert isinstance(self.network, Denoiser)
        return fill_up(rows, self.network.captions[_TOKENS].shape[1])

    def ask(self, x: Tensor, t: Tensor, label: Tensor, rows: Tensor) -> Tensor:
        """eps (N, C, H, W) under labels (N,), with these embeddings in place of theirs."""
        if self.table:
            answer: Tensor = functional_call(
                self.network, {self.table: rows}, (x, t, torch.arange(len(x), device=x.device))
            )
            return answer
        assert isinstance(self.network, Denoiser)
        return self.network.answer(x, t, self.network.tell(label) | {_TOKENS: rows})

    def gradient(self, size: Tensor, rows: Tensor) -> Tensor:
        """Gradient of a number in one embedding (1, ...); that of a caption's first token is zero."""
        (found,) = torch.autograd.grad(size, rows)
        if not self.table:
            found[:, 0] = 0
        return found


class AdjustedNetwork(nn.Module):
    """A network that is told adjusted embeddings. Each is found when it is first asked for, and kept."""

    def __init__(self, release: Release, target: float, steps: int, lr: float, draws: int) -> None:
        super().__init__()
        self.spec = release.network.spec
        self._release, self._embeddings = release, Embeddings.of(release.network)
        self._target, self._steps, self._lr, self._draws = target, steps, lr, draws
        self.adjusted: dict[int, tuple[Tensor, int]] = {}  # by label: the embedding (1, ...), and steps that it took

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        numbers = label.tolist()
        if min(numbers) < 0:
            answer: Tensor = self._release.network(x, t, label)
            if max(numbers) < 0:
                return answer
            told = label >= 0  # the rows in a batch of the same size, as sizes are fixed
            return torch.where(told.view(-1, 1, 1, 1), self(x, t, label.where(told, label.max())), answer)
        return self._embeddings.ask(x, t, label, torch.cat([self.embedding(number) for number in numbers]))

    def embedding(self, label: int) -> Tensor:
        """The adjusted embedding (1, ...) of a label."""
        if label not in self.adjusted:
            with torch.enable_grad():
                self.adjusted[label] = self._adjust(label)
        return self._embeddings.as_long(self.adjusted[label][0])

    def _adjust(self, label: int) -> tuple[Tensor, int]:
        release, ids = self._release, torch.arange(self._draws, device=self._release.device)
        x = release.streams.of("prompt adjustment", label).normal(ids, release.shape)
        t, labels = full_timesteps(release.schedule.timesteps()[0], x), torch.full_like(ids, label)
        with torch.no_grad():
            without = self._without(x, t)
        rows = self._embeddings.rows(labels[:1]).detach().clone().requires_grad_()
        adam = torch.optim.AdamW([rows], lr=self._lr)
        for step in range(self._steps):
            told = rows.expand(self._draws, *rows.shape[1:])
            added = self._embeddings.ask(x, t, labels, told) - without
            size = added.flatten(1).norm(dim=1).mean() / math.sqrt(x[0].numel())
            if float(size.detach()) <= self._target:
                return rows.detach(), step
            rows.grad = self._embeddings.gradient(size, rows)
            adam.step()
        return rows.detach(), self._steps

    def _without(self, x: Tensor, t: Tensor) -> Tensor:
        release = self._release
        if release.knows_none:
            return release.raw_eps(x, t, nowhere(t))
        every = [release.raw_eps(x, t, torch.full_like(t, label)) for label in range(release.conditions)]
        return torch.stack(every).mean(dim=0)


@dataclass(frozen=True)
class PromptRelease(Release):
    """Answers of the base as it would give them with adjusted embeddings."""

    served: Release | None = field(default=None, repr=False)

    def eps(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The noise prediction (N, C, H, W) under adjusted embeddings."""
        assert self.served is not None
        return self.served.eps(x, t, label)

    def facts(self) -> dict[str, Any]:
        """How many prompts were asked for, and how many of them were adjusted."""
        assert self.served is not None and isinstance(self.served.network, AdjustedNetwork)
        steps = [found[1] for found in self.served.network.adjusted.values()]
        return super().facts() | {"prompts_asked": len(steps), "prompts_adjusted": sum(one > 0 for one in steps)}


class PromptAdjustment(Defense):
    """Embeddings of prompts, moved until they are no longer memorised."""

    name = "prompt_adjustment"
    summary = "moves the embedding of a memorised prompt until it no longer pulls to one image (Wen et al.)"
    needs_base = True
    changes = "sampling"

    target: float = release_param(0.0234, gt=0)
    iterations: int = release_param(10, ge=0)
    lr: float = release_param(0.05, gt=0)
    draws: int = release_param(4, ge=1)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse a network that is not conditioned, and a base that already answers otherwise than its network."""
        if setting.condition == "none":
            return Skip(
                "it moves the embedding of a prompt or class, and the network has none: "
                'write condition = "label" under [network]'
            )
        if below := [defense.name for defense in setting.chain if defense.changes == "sampling"]:
            return Skip(f"it adjusts what the network is told, under all that changes samples: build {below[0]} on it")
        return None

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Put it before the base's network. It reads no training image."""
        base = task.base
        assert base is not None
        network = AdjustedNetwork(base, self.target, self.iterations, self.lr, self.draws)
        served = _with_network(base, network)
        return PromptRelease.wrap(base, guarantee=base.guarantee, served=served)


def _with_network(release: Release, network: nn.Module) -> Release:
    """The release with another network, all the way down."""
    base = release.base and _with_network(release.base, network)
    return replace(release, network=network, base=base)

"""Attribute switching: fair sampling from a model conditioned on a sensitive attribute (2401.03140, AAAI 2024).

The walk is conditioned on the value s0 that was asked for down to the timestep tau, and on the other value s1 = 1 - s0
below it: same network, same noise. Tau is chosen so that whoever sees a sample cannot tell which value was asked for.

The published search: from one batch of noise x_T two whole walks of T steps, one for each value, and on them
    D_t  = beta_t (eps_theta(x_t^(0), t, 0) - eps_theta(x_t^(1), t, 1)),
    tau* = argmin over tau in {0, 10, .., 990} of mean over pixels of || sum_{t < tau} D_t - sum_{t >= tau} D_t ||,
the norm being over the batch. To first order the argument is how far the end points of s0 -> s1 and of s1 -> s0 lie
apart. The criterion is that of the authors' code (uzn36/AttributeSwitching), without the weight 1 / sqrt(1 - alpha_bar)
that is commented out there.

Choices of ours: timesteps t < tau are asked with s1, so tau = T is all s1 and tau = 0 all s0 (the published strict
inequality leaves one index on s1); the switch is a property of eps, so a variation that starts below tau is s1
throughout; the search walks down the base's answers, whatever defends it, in float32; of equal minima the least tau is
taken, so a model that ignores the attribute is never switched; `tau` None is the criterion's. Every sample has noise of
its own, where the public notebook gives all batches of a call the same. The search reads no training image, so the
base's claims survive.

Check the criterion's tau with a reader. Its first-order argument can be far off: of two Gaussian classes at -1 and 1,
whose samples can be computed, it finds 710 (variance .05) or 730 (variance 1), and the two laws meet at 110 or 370.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Artefacts, AuditSetting, Cost, Defense, Release, Skip, Task, fit_param, release_param
from leakbench.models.diffusion import Eps, Schedule, ddim_step, full_timesteps
from leakbench.runtime.device import in_batches

_GRID = 10  # timesteps between two taus that the search compares
_NUMBERS = 2**26  # that a batch of the search holds at one time
_ROWS = 256  # images of a compute batch of the search


@dataclass(frozen=True)
class SwitchedRelease(Release):
    """Asked for s0, it answers for s0 at timesteps tau and above and for the other value below."""

    tau: int = 0

    def eps(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The base's answer for the value that holds at t, row by row. `label` (N,) is s0: 0 or 1."""
        assert label is not None
        return super().eps(x, t, torch.where(t < self.tau, 1 - label, label))


class AttributeSwitching(Defense):
    """Attribute switching."""

    name = "attribute_switching"
    summary = "switches the sensitive attribute midway through sampling, so that it cannot be read off (fair sampling)"
    needs_base = True
    changes = "sampling"
    ships = frozenset({"tau"})
    fit_samples_base = True

    tau: int | None = release_param(None, ge=0)
    search_images: int = fit_param(256, ge=2)

    def cost(self) -> Cost:
        """Cost of the search's two walks."""
        return Cost(2 * Schedule.T * self.search_images, budget_params=("search_images",))

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse a network that is not conditioned on the attribute, and a tau off the schedule."""
        if setting.condition != "attribute":
            return Skip(
                f'it switches the sensitive attribute, and the network is conditioned on "{setting.condition}": '
                'write condition = "attribute" under [network]'
            )
        if self.tau is not None and self.tau > setting.timesteps:
            return Skip(f"tau = {self.tau} lies outside 0 .. {setting.timesteps}, the timesteps of the schedule")
        if any(isinstance(defense, AttributeSwitching) for defense in setting.chain):
            return Skip("its base already switches the attribute, and a second switch would undo the first")
        return None

    def fit(self, task: Task) -> Artefacts:
        """Search for the published criterion's tau, even where `tau` is given: its curve belongs to the record."""
        assert task.base is not None
        began = time.perf_counter()
        numbers = torch.arange(self.search_images, device=task.device)
        noise = task.streams.of("search", self.name).normal(numbers, task.network.shape)
        walked = 2 * task.base.schedule.T * self.search_images
        taus, criterion = tau_curve(_told(task.base.eps, walked, task.progress), task.base.schedule, noise)
        info: dict[str, Any] = {
            "train_seconds": time.perf_counter() - began,
            "network_evaluations": round(walked * task.base.network_calls),
            "tau_criterion": taus[int(np.argmin(criterion))],
            "tau_curve": {"tau": taus, "criterion": criterion.tolist()},
        }
        return Artefacts(info=info)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Put the switch before the base's answers."""
        assert task.base is not None
        tau = artefacts.info["tau_criterion"] if self.tau is None else self.tau
        kept = {key: artefacts.info[key] for key in ("tau_criterion", "tau_curve")}
        return SwitchedRelease.wrap(
            task.base, guarantee=task.base.guarantee, parts={"tau": tau}, info=kept | {"tau": tau}, tau=tau
        )


def tau_curve(eps: Eps, schedule: Schedule, noise: Tensor) -> tuple[list[int], np.ndarray]:
    """The taus 0, 10, .. of the walk, and the published criterion at each (float64), from noise x_T (N, C, H, W)."""
    taus = [tau for tau in range(0, schedule.T, _GRID) if tau >= schedule.last]

    def batch(noise: Tensor) -> Tensor:
        return _apart(eps, schedule, noise, taus).square().cpu()

    with torch.no_grad():
        rows = max(1, min(_ROWS, len(noise), _NUMBERS // (len(taus) * noise[0].numel())))
        squares = in_batches(batch, noise, size=rows)
    return taus, squares.double().sum(dim=0).sqrt().flatten(1).mean(dim=1).numpy()


def _apart(eps: Eps, schedule: Schedule, noise: Tensor, taus: list[int]) -> Tensor:
    """sum_{t < tau} D_t - sum_{t >= tau} D_t for ascending `taus`: (N, taus, C, H, W)."""
    alpha_bar = np.concatenate([[1.0], schedule.alpha_bar])
    beta = 1.0 - alpha_bar[1:] / alpha_bar[:-1]
    x = torch.cat([noise, noise])  # both walks at once
    label = torch.arange(2, device=x.device).repeat_interleave(len(noise))
    late, kept, wanted = torch.zeros_like(noise), [], set(taus)
    walk = replace(schedule, steps=schedule.T).timesteps()
    for t, u in zip(walk, [*walk[1:], -1], strict=True):
        answer = eps(x, full_timesteps(t, x), label)
        zero, one = answer.chunk(2)
        late = late + float(beta[t]) * (zero - one)
        if t in wanted:
            kept.append(late)  # the sum over t >= tau
        x = ddim_step(schedule, x, t, u, answer, schedule.clip)
    return late[:, None] - 2 * torch.stack(kept[::-1], dim=1)  # below tau is the whole sum without it


def _told(eps: Eps, rows: int, progress: Callable[[float], None] | None) -> Eps:
    """The same eps, which tells how many of `rows` answers it has given, a hundred times in all."""
    asked = 0

    def counted(x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        nonlocal asked
        before, asked = asked, asked + len(x)
        if progress and 100 * asked // rows > 100 * before // rows:
            progress(min(1.0, asked / rows))
        return eps(x, t, label)

    return counted

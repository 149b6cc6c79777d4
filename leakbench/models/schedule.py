"""Noise schedule: alpha_bar by timestep, and the timesteps of a sampling walk. Computed by numpy alone.

Notation of Song et al. (DDIM, 2010.02502): alpha_bar_t is the cumulative product of 1 - beta.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

LEAST_ALPHA_BAR = 2.0**-24


@dataclass(frozen=True)
class Schedule:
    """Linear beta from 1e-4 to 0.02 over T steps (DDPM, Ho et al. 2020), computed in float64; or any other `table`.

    `steps` is the length of the deterministic DDIM walk that samples. `last` is its lowest timestep: above 0 the walk
    leaves out what lies below, and its last move is from there to the x_0 that eps implies (for a network that has
    never learnt lower noise). With `clip`, the x_0 that eps implies is brought into [-1, 1] in every move of that walk,
    and eps kept as it is: diffusers' DDIM with `clip_sample` (DDPM's sampler clips as well, and steps by x_t). Without,
    a network that is a little off at high noise ends in saturated colours. Single moves (SecMI, inversion, training)
    are never clipped.

    For a model that somebody else trained: `table` is its alpha_bar_0 .. alpha_bar_{T-1}, each in (0, 1) (see `given`);
    `spacing` and `offset` place the walk's timesteps, where "leading", "linspace" and "trailing" are diffusers' words
    and rules and "even" is ours; `final` is the alpha_bar at the walk's end (diffusers' set_alpha_to_one = False puts
    alpha_bar_0 there); `clamp_output` says that what is denoised are images, which end in [-1, 1], and no latents.
    """

    T: int = 1000
    beta_first: float = 1e-4
    beta_last: float = 0.02
    steps: int = 50
    last: int = 0
    clip: bool = False
    table: tuple[float, ...] | None = None
    spacing: Literal["even", "leading", "linspace", "trailing"] = "even"
    offset: int = 0
    final: float = 1.0
    bounded: bool = True

    @classmethod
    def given(cls, alpha_bar: np.ndarray, **more: Any) -> Schedule:
        """The schedule of a table (T,). One that ends in pure noise (zero terminal SNR) is kept above 2^-24, where x_0
        can still be told from eps in float32: diffusers' Euler sampler floors it there as well. None is above
        1 - 2^-24, where eps can be told from x_0."""
        kept = np.clip(np.asarray(alpha_bar, dtype=np.float64), LEAST_ALPHA_BAR, 1.0 - LEAST_ALPHA_BAR)
        return cls(T=len(kept), table=tuple(kept.tolist()), **more)

    @cached_property
    def alpha_bar(self) -> np.ndarray:
        """alpha_bar_0 .. alpha_bar_{T-1}, float64, decreasing from about 1 to about 0."""
        if self.table is not None:
            return np.array(self.table)
        return np.cumprod(1.0 - np.linspace(self.beta_first, self.beta_last, self.T))

    def timesteps(self) -> list[int]:
        """The timesteps of a sampling walk, from the noisiest down, by default evenly spaced with 0 as the last.

        With `last` above 0, those below it are left out and it is the last itself.
        """
        evenly = self._spaced()
        return [t for t in evenly if t > self.last] + [self.last] if self.last else evenly

    def _spaced(self) -> list[int]:
        if self.spacing == "even":
            return [i * self.T // self.steps for i in reversed(range(self.steps))]
        spaced: np.ndarray
        if self.spacing == "leading":
            spaced = np.arange(self.steps)[::-1] * (self.T // self.steps) + self.offset
        elif self.spacing == "linspace":
            spaced = np.linspace(0, self.T - 1, self.steps).round()[::-1]
        else:
            spaced = np.round(np.arange(self.T, 0, -self.T / self.steps)) - 1
        return [int(t) for t in np.minimum(spaced, self.T - 1)]

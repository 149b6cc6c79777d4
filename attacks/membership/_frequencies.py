"""Frequency filters of an attack's error: members differ from nonmembers more clearly in some frequencies than in all.

    low    FreMIA (2505.20955; code at 68395e4): the centred square of 2 x 5 frequencies a side of 32 pixels is kept
           (9.8 % of all), the others are multiplied by 0.2
    band   FCRE (2506.14919): frequencies between 15 and 85 % are kept, the others are dropped

Filters are linear, so the error is filtered, which is the same as to filter prediction and target. FreMIA compares x_0
with its reconstruction where `loss` and `pia` compare noises: at one timestep that is the same error times a constant.

Choices of ours: the half-width of 5 grows and shrinks with the side of the image (the paper's depends on the data set,
2 or 5), and is 1 at the least; per cent of FCRE, which has no code, are of the Nyquist frequency along an axis, by the
distance from zero frequency. Over several timesteps the errors of noises are averaged as without a filter. FreMIA's
own account of its gain (that high frequencies vary more among members) holds for natural images; on 8x8 digits a low
pass keeps 4 of 64 frequencies.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Frequencies = Literal["all", "low", "band"]

_HALF, _SIDE, _REST = 5, 32, 0.2
_BAND = (0.15, 0.85)


def filtered(error: Tensor, frequencies: Frequencies) -> Tensor:
    """The error (N, C, H, W) without the frequencies that are not asked for; itself for "all"."""
    if frequencies == "all":
        return error
    height, width = error.shape[-2:]
    weights = _weights(height, width, frequencies).to(error)
    found: Tensor = torch.fft.ifft2(torch.fft.fft2(error) * weights).real
    return found


@lru_cache(maxsize=16)
def _weights(height: int, width: int, frequencies: Frequencies) -> Tensor:
    """Weight of each frequency (H, W), zero frequency first."""
    if frequencies == "low":
        return torch.where(_near_zero(height)[:, None] & _near_zero(width), 1.0, _REST)
    radius = torch.hypot(torch.fft.fftfreq(height, 0.5)[:, None], torch.fft.fftfreq(width, 0.5))  # Nyquist is 1
    return ((radius >= _BAND[0]) & (radius <= _BAND[1])).float()


def _near_zero(side: int) -> Tensor:
    """Mask (side,) of the 2 x half-width frequencies around zero: one more below it than above, as the code has it."""
    half = max(1, round(_HALF * side / _SIDE))
    number = torch.fft.fftfreq(side, 1 / side).round()
    return (number >= -half) & (number < half)

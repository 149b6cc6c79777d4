"""The range of grey levels that an owner states: which value is black, and which is white.

It is for files whose values say neither: floating point, and whole numbers of more than 8 bits (12 bits of a scanner
stored in 16). The rule, the same for every file: LOW becomes 0, HIGH 255, what is between them is spread evenly and
rounded, what is beyond them is cut to them, and counted.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from leakbench.runtime.errors import UsageError

NUMBER = r"-?\d{1,15}(?:\.\d{1,15})?"
PATTERN = f"{NUMBER}:{NUMBER}"


@dataclass(frozen=True)
class Levels:
    """The values that become black (0) and white (255)."""

    low: float
    high: float

    @classmethod
    def parse(cls, text: str, option: str) -> Levels:
        """LOW:HIGH, such as 0:1 or -1000:400. `option` begins the message. Raises UsageError."""
        if not re.fullmatch(PATTERN, text):
            raise UsageError(f"{option} {text!r}: it should be LOW:HIGH, the values of black and white, such as 0:1")
        low, high = map(float, text.split(":"))
        if low >= high:
            raise UsageError(f"{option} {text!r}: LOW should be below HIGH")
        return cls(low, high)

    def __str__(self) -> str:
        return ":".join(f"{value:.15f}".rstrip("0").rstrip(".") for value in (self.low, self.high))

    def spread(self, values: np.ndarray, white_is_low: bool = False) -> tuple[np.ndarray, bool]:
        """Values of any shape as uint8, and whether some were beyond the range. Raises ValueError where one is none.

        white_is_low: LOW is white and HIGH black, as a file may say.
        """
        values = values.astype(np.float64)
        low, high = values.min(), values.max()
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("holds values that are no numbers")
        levels = np.rint((np.clip(values, self.low, self.high) - self.low) / (self.high - self.low) * 255)
        return (255 - levels if white_is_low else levels).astype(np.uint8), bool(low < self.low or high > self.high)

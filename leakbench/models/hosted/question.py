"""A question to a hosted model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Question:
    """prompt: words, "" for none. seed: 0 to 2^31 - 2. image: levels uint8 (H, W, 1 or 3), or None. strength: how far a
    variation is to go from the image, above 0 to 1; None without an image, or where the service has its own."""

    prompt: str
    seed: int
    image: np.ndarray | None = None
    strength: float | None = None

    @property
    def key(self) -> str:
        """Digest of all that is asked, 64 hex digits."""
        image = None if self.image is None else [self.image.shape, hashlib.sha256(self.image.tobytes()).hexdigest()]
        asked = json.dumps([self.prompt, self.seed, image, self.strength])
        return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()

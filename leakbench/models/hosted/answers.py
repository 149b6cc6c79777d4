"""Answers of a hosted model kept on disk, by their questions: none is paid for twice.

They lie below the cache folder as PNG files, which nobody else may read: an answer can be a picture of a member.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from leakbench.data.answered_image import WrongImage, read_image
from leakbench.models.hosted.wire import to_png
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.files import write_atomically

KIND = "hosted"  # folder of the cache


class KeptAnswers:
    """Answers of one endpoint (by its key)."""

    def __init__(self, key: str) -> None:
        self.folder = cache_root() / KIND / key

    def prepare(self) -> None:
        """Make the folder, which nobody else may read."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def get(self, question: str, shape: tuple[int, int, int]) -> np.ndarray | None:
        """The answer to the question of a key, levels uint8 (H, W, C); None where there is none, or it is damaged."""
        try:
            return read_image(self._path(question).read_bytes(), shape)
        except (FileNotFoundError, WrongImage):
            return None

    def put(self, question: str, levels: np.ndarray) -> None:
        """Keep an answer."""
        write_atomically(self._path(question), to_png(levels), durable=False)

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob("??/*.png"))

    def _path(self, question: str) -> Path:
        return self.folder / question[:2] / f"{question}.png"

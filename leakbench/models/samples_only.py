"""A release that hands out images and nothing else: whoever asks for its network is told that there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NoReturn

from leakbench.models.release import Release
from leakbench.runtime.errors import UsageError


@dataclass(frozen=True)
class SamplesOnly(Release):
    """A release of finished images. A subclass says where they come from, by `generate` or `sample`.

    Its defense declares `offers = Access.SAMPLES`, so that no attack that needs more is run on it; or API, where the
    subclass varies images.
    """

    is_iterative: ClassVar[bool] = False
    answers_eps: ClassVar[bool] = False

    def _nobody(self, *asked: object, **more: object) -> NoReturn:
        """Refuse a question to the network."""
        raise UsageError("only generated images are handed out: there is no model to ask")

    raw_eps = eps = vary = inpaint = _nobody

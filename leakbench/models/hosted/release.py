"""Release of a hosted model: it draws and varies images by asking a service, and has no network.

A seed stands for the noise: that of a sample follows from its number, that of a variation from the noise that the
harness would have added, so that equal numbers and equal noise are equal questions. How far a variation goes is the
service's own where it takes no `strength`. Its walk counts as one step, so that queries are calls of the service.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from leakbench.models.hosted.question import Question
from leakbench.models.hosted.service import Service
from leakbench.models.network_spec import NetworkSpec
from leakbench.models.samples_only import SamplesOnly
from leakbench.runtime.device import row_digest
from leakbench.runtime.errors import UsageError

_SEEDS = 2**31 - 1


class NoNetwork(nn.Module):
    """In the place of a network that nobody has: its spec, and the captions of its labels."""

    def __init__(self, spec: NetworkSpec, texts: tuple[str, ...]) -> None:
        super().__init__()
        self.spec, self.texts = spec, texts

    def forward(self, *asked: object) -> Tensor:
        """Refuse."""
        raise UsageError("a hosted model has no network to ask")


@dataclass(frozen=True)
class HostedRelease(SamplesOnly):
    """A release behind a `service`."""

    service: Service | None = None

    def generate(self, ids: Tensor, label: Tensor | None = None, draw: int = 0) -> Tensor:
        """Images (N, C, H, W) for these numbers, under the captions of their labels."""
        seeds = self.streams.of("hosted").integers(ids, _SEEDS, draw=draw)
        return self._ask(
            Question(prompt, seed) for prompt, seed in zip(self._prompts(label, len(ids)), seeds.tolist(), strict=True)
        )

    def sample(self, n: int, label: Tensor | None = None, first: int = 0) -> Tensor:
        """The samples first .. first + n - 1, on the CPU, each asked for once."""
        ids = torch.arange(first, first + n, device=self.device)
        return self.generate(ids, self.labels(ids) if label is None else label.to(self.device)).cpu()

    def vary(  # type: ignore[override]
        self, images: Tensor, strength: float, noise: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """Variations (N, C, H, W) by the service."""
        assert self.service is not None
        seeds = row_digest(self.streams.of("hosted", "vary"), noise)[:, 0] % _SEEDS
        levels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        far = strength if self.service.endpoint.takes("strength") else None
        return self._ask(
            Question(prompt, seed, np.ascontiguousarray(one), far)
            for prompt, seed, one in zip(self._prompts(label, len(images)), seeds.tolist(), levels, strict=True)
        )

    def spent(self) -> dict[str, float]:
        """Calls that the service was asked so far, by all runs, and their price."""
        assert self.service is not None
        spent = self.service.spent
        return {"service_calls": float(spent.calls), "service_price": spent.money}

    def _prompts(self, label: Tensor | None, count: int) -> list[str]:
        return [""] * count if label is None else [self.captions[number] for number in label.tolist()]

    def _ask(self, questions: Iterable[Question]) -> Tensor:
        assert self.service is not None
        levels = torch.from_numpy(self.service.ask(list(questions), self.shape)).to(self.device)
        return levels.permute(0, 3, 1, 2).float() / 127.5 - 1

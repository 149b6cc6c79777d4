"""Calls of each kind of network, with its condition: nothing, a class, or a caption.

A label of -1 stands for no condition: the empty caption, or DiT's class of none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from leakbench.models.networks import NetworkSpec
from leakbench.models.pretrained.prediction import Prediction


class Denoiser(nn.Module):
    """eps(x_t, t, label), whatever the network inside predicts. Gradients flow to its parameters.

    `captions` (K + 1, length, width): embeddings of distinct captions, the empty one last; `which` (conditions,) says
    which of them each label is.
    """

    captions: Tensor | None
    which: Tensor | None

    def __init__(
        self,
        body: nn.Module,
        spec: NetworkSpec,
        prediction: Prediction,
        captions: Tensor | None = None,
        which: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.body, self.spec, self.prediction = body, spec, prediction
        self.register_buffer("captions", captions, persistent=False)
        self.register_buffer("which", which, persistent=False)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        def ask(scaled: Tensor, time: Tensor) -> Tensor:
            return self.answer(scaled, time, label).float()

        return self.prediction.eps(ask, x, t)

    def answer(self, x: Tensor, time: Tensor, label: Tensor | None) -> Tensor:
        """Answer of the network in its own terms: noise, v, or the image."""
        found: Any
        if self.captions is not None and self.which is not None:
            assert label is not None
            row = torch.where(label < 0, len(self.captions) - 1, self.which[label])
            found = self.body(x, time, encoder_hidden_states=self.captions[row].to(x.dtype))
        elif self.spec.conditions:
            assert label is not None
            classes = torch.where(label < 0, self.spec.conditions, label)
            found = (
                self.body(x, time, class_labels=classes)
                if hasattr(self.body, "config")
                else self.body(x, time, classes)
            )
        else:
            found = self.body(x, time)
        return found if isinstance(found, Tensor) else found[0]

"""Norms of one image's loss gradient, parameter tensor by parameter tensor, for many images at once.

A batch's gradient is a sum, so each image needs one of its own: vmap over torch.func.grad makes them together, a
bounded number at a time. A network that cannot be batched that way (its path depends on its data) sees its images one
by one.

A norm below 1e-5 of the image's largest is taken for 0: it is rounding (the bias of attention's keys, say, has no
gradient at all), and what came next in the batch would decide it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn.attention import SDPBackend, sdpa_kernel

_NUMBERS = 2**26  # held at one time: gradients, and activations at about _ACTIVATIONS an input number
_ACTIVATIONS = 512
_ROUNDING = 1e-5


def gradient_norms(network: nn.Module, x: Tensor, t: Tensor, noise: Tensor, label: Tensor | None) -> Tensor:
    """L2 norms (N, P) of the gradient of each image's loss in each of the network's P parameter tensors, in order.

    An image's loss is the mean squared error of eps over its D noised states and their pixels: x and noise
    (N, D, C, H, W), t (N, D) or one row (D,) for all, label (N,) or None. The network is in eval mode.
    """
    weights = {name: p.detach() for name, p in network.named_parameters()}

    def loss(weights: dict[str, Tensor], x: Tensor, t: Tensor, noise: Tensor, label: Tensor | None) -> Tensor:
        asked = None if label is None else label.expand(len(x))
        answer: Tensor = functional_call(network, weights, (x, t, asked))
        return (answer - noise).square().mean()

    def norms(x: Tensor, t: Tensor, noise: Tensor, label: Tensor | None) -> Tensor:
        gradients = grad(loss)(weights, x, t, noise, label)
        return torch.stack([gradient.flatten().norm() for gradient in gradients.values()])

    t = t.expand(x.shape[:2])
    held = sum(p.numel() for p in weights.values()) + _ACTIVATIONS * x[0].numel()
    with sdpa_kernel(SDPBackend.MATH):  # attention's fused kernels cannot be batched on every device
        try:
            columns = (0, 0, 0, None if label is None else 0)
            found = torch.vmap(norms, columns, chunk_size=max(1, _NUMBERS // held))(x, t, noise, label)
        except RuntimeError as error:
            if "vmap" not in str(error):
                raise
            rows = range(len(x))
            found = torch.stack([norms(x[i], t[i], noise[i], None if label is None else label[i]) for i in rows])
    return torch.where(found < _ROUNDING * found.amax(dim=1, keepdim=True), 0.0, found)

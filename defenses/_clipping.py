"""The sum over images of clipped gradients: what differentially private training does in place of a mean gradient.

DP-SGD (Abadi et al. 2016, 1607.00133, Alg. 1) scales the gradient g_i of image i to norm C at most, g_i min(1, C /
||g_i||), and adds those up. With noise multiplicity (DPDM, Dockhorn et al. 2023, 2210.09929, sec. 3.2) g_i is that of
the image's loss averaged over K draws of (t, noise): the mean is clipped, once, so the K draws cost no privacy.

One backward pass (book-keeping: Bu et al. 2022, 2210.00038) finds the loss's gradient at the output of every layer.
With the layer's input it determines every image's gradient of that layer. A linear layer with input a (T, in) and
output gradient b (T, out) of an image has the gradient b^T a, and ||b^T a||^2 = sum over T x T of (b b^T) * (a a^T)
without forming it (Li et al. 2021, 2110.05679, sec. 4), after which one product gives the clipped sum. A gradient is
formed where that costs less (2205.10683, sec. 4: 2 T^2 against in * out) and for all other layers, by opacus's own
samplers. No image gets a backward pass of its own, nor the batch a second one.

Choices of ours: a gradient's norm has 1e-6 added before it divides, as in opacus; a batch is worked through in pieces
of so many images that their gradients, were all formed, would be 2^26 numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

from leakbench.runtime.device import AdaptiveBatch
from leakbench.runtime.errors import UsageError

_AT_ONCE = 2**26  # numbers: 256 MiB
_SEQUENCES = (nn.Linear, nn.LayerNorm, nn.Embedding)  # opacus's samplers of these take further leading dimensions


@dataclass
class _Call:
    """A layer's call, rows of a batch in front: its input, and its output in the graph."""

    layer: nn.Module
    entered: Tensor
    left: Tensor


@dataclass
class _Formed:
    """Gradients of each image (B, *parameter) of some parameters."""

    gradients: dict[Tensor, Tensor]

    def squares(self) -> Tensor:
        """Squared norms (B,)."""
        return torch.stack([g.flatten(1).square().sum(dim=1) for g in self.gradients.values()]).sum(dim=0)

    def sums(self, weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Their sum over images, weighted by `weight` (B,)."""
        for parameter, gradient in self.gradients.items():
            yield parameter, (weight @ gradient.flatten(1)).view(parameter.shape)


@dataclass
class _Ghost:
    """A linear layer's gradients b^T a, not formed: a (B, T, in), b (B, T, out)."""

    layer: nn.Linear
    a: Tensor
    b: Tensor

    def squares(self) -> Tensor:
        """Squared norms (B,)."""
        squares = ((self.a @ self.a.mT) * (self.b @ self.b.mT)).sum(dim=(1, 2)).clamp(min=0)
        return squares if self.layer.bias is None else squares + self.b.sum(dim=1).square().sum(dim=1)

    def sums(self, weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Their sum over images, weighted by `weight` (B,)."""
        b = (weight[:, None, None] * self.b).flatten(0, 1)
        yield self.layer.weight, b.mT @ self.a.flatten(0, 1)
        if self.layer.bias is not None:
            yield self.layer.bias, b.sum(dim=0)


def clipped_sum(
    module: nn.Module, losses: Callable[[slice], Tensor], images: int, draws: int, clip: float, images_each: int = 1
) -> list[Tensor]:
    """Leave in .grad the sum over `images` of their clipped gradients. Returns the norms before clipping, in pieces.

    `losses(piece)` calls the module once and answers the losses (B * draws,) of images piece.start .. piece.stop - 1,
    an image's draws side by side. Works in ever smaller pieces when a CUDA device runs out of memory. Where groups of
    images take the place of images, their draws are those of `images_each` images.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    count = sum(p.numel() for p in trained)

    def run(size: int) -> list[Tensor]:
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        pieces = [slice(start, min(start + size, images)) for start in range(0, images, size)]
        return [add_clipped(module, partial(losses, piece), draws, clip) for piece in pieces]

    work = f"clipped gradients of {type(module).__name__} with {count} parameters and {draws} draws"
    most = 1 << max(images - 1, 0).bit_length()  # rounded up: the number of images is another one at every step
    return AdaptiveBatch(work, trained[0].device, min(most, max(1, _AT_ONCE // (count * images_each)))).run(run)


def add_clipped(module: nn.Module, losses: Callable[[], Tensor], draws: int, clip: float) -> Tensor:
    """Add the clipped gradients of some images to .grad. Returns the norms (B,) that they had.

    `losses()` calls the module once and answers the losses (B * draws,) of its rows, an image's draws side by side.
    Every trainable parameter must belong to a layer that is called once. Raises UsageError where a layer's gradient
    cannot be told apart by image.
    """
    layers = _trained_layers(module)
    with _recorded(layers) as calls:
        mean = losses().unflatten(0, (-1, draws)).mean(dim=1)
    backward = torch.autograd.grad(mean.sum(), [call.left for call in calls])
    with torch.no_grad():
        gradients = [_gradients(call, b, draws) for call, b in zip(calls, backward, strict=True)]
        norms = torch.stack([gradient.squares() for gradient in gradients]).sum(dim=0).sqrt()
        weight = (clip / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            for parameter, total in gradient.sums(weight):
                assert parameter.grad is not None
                parameter.grad.add_(total)
    return norms


def _trained_layers(module: nn.Module) -> list[nn.Module]:
    """The layers with trainable parameters of their own. Raises UsageError for one that cannot be told apart."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise UsageError(
                f"dp_sgd cannot train a network with {type(part).__name__}, which mixes the images of a batch: no "
                "gradient belongs to one of them; use GroupNorm or LayerNorm"
            )
    layers = [part for part in module.modules() if any(p.requires_grad for p in part.parameters(recurse=False))]
    for layer in layers:
        if type(layer) not in GradSampleModule.GRAD_SAMPLERS:
            raise UsageError(f"dp_sgd cannot train a network with {type(layer).__name__}: opacus has no sampler for it")
    own = [id(parameter) for layer in layers for parameter in layer.parameters(recurse=False)]
    if len(set(own)) < len(own):
        raise UsageError("dp_sgd cannot train a network of which two layers share a parameter")
    return layers


@contextmanager
def _recorded(layers: list[nn.Module]) -> Iterator[list[_Call]]:
    """Note the calls of layers, each of which has to be called once."""
    calls: list[_Call] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append(_Call(layer, inputs[0].detach(), output))

    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
    if sorted(id(call.layer) for call in calls) != sorted(map(id, layers)):
        raise UsageError("dp_sgd cannot train a network of which a layer is not called exactly once")


def _gradients(call: _Call, b: Tensor, draws: int) -> _Formed | _Ghost:
    layer, a = call.layer, call.entered
    # Norms and sums in float32, of the very numbers that the network was run with.
    a, b = (a.float() if a.is_floating_point() else a), b.float()
    # Contiguous: opacus 1.6's sampler of convolutions reads channels_last inputs in the wrong order.
    a, b = a.contiguous(), b.contiguous()
    if isinstance(layer, _SEQUENCES):
        a, b = a.unflatten(0, (-1, draws)), b.unflatten(0, (-1, draws))
    if isinstance(layer, nn.Linear):
        a, b = a.flatten(1, -2), b.flatten(1, -2)
        if 2 * a.shape[1] ** 2 < layer.in_features * layer.out_features:
            return _Ghost(layer, a, b)
    formed = GradSampleModule.GRAD_SAMPLERS[type(layer)](layer, [a], b)
    if not isinstance(layer, _SEQUENCES):
        formed = {parameter: g.unflatten(0, (-1, draws)).sum(dim=1) for parameter, g in formed.items()}
    return _Formed(formed)

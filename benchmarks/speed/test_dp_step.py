"""What a differentially private gradient costs beside opacus's, on the same B x K rows.

    pytest benchmarks/speed/test_dp_step.py -s

dp_sgd clips by image and adds noise; so do opacus's hooks, and its ghost clipping, which takes an image's K draws as a
sequence. A UNet cannot, and is raced against the hooks alone. The floor is the plain gradient (forward, backward, mean
over rows). Adam, EMA and the drawing of t and noise are the same for all and left out.
"""

from collections.abc import Callable

import pytest
import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from torch import Tensor, nn

from leakbench.api import Task
from leakbench.defenses import _private as private
from leakbench.models import networks
from leakbench.models.denoiser_training import errors
from leakbench.models.diffusion import Schedule, add_noise
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng, autocast, place, prepare

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CASES = {
    "mlp 64x1": (NetworkSpec(kind="mlp", shape=(1, 8, 8), width=256, blocks=4), 64, 1, 25),
    "mlp 64x4": (NetworkSpec(kind="mlp", shape=(1, 8, 8), width=256, blocks=4), 64, 4, 25),
    "unet 16x4": (NetworkSpec(kind="unet", shape=(1, 16, 16), width=16, blocks=1), 16, 4, 7),
}


class Bench:
    """One network four times over, and one step's draws."""

    def __init__(self, spec: NetworkSpec, images: int, draws: int) -> None:
        prepare(DEVICE)
        streams = Rng("speed", 0)
        pixels = streams.of("images").normal(torch.arange(images), spec.shape)
        rest = (None, None, "none", torch.arange(images), pixels, spec, Schedule(), streams, DEVICE)
        self.spec, self.images, self.draws = spec, images, draws
        self.mechanism = private.Mechanism(Task(pixels, *rest), 1.0, draws, 1.0, 1.0, True, 0)
        (self.step,) = self.mechanism.steps(0, 1)
        self.x0 = self.mechanism.images.repeat_interleave(draws, dim=0)

    def network(self) -> nn.Module:
        """A fresh one, the same every time."""
        return place(networks.build(self.spec, Rng("speed", 0).of("weights")), DEVICE).train()

    def plain(self) -> Callable[[], object]:
        """The mean over all rows."""
        network, step = self.network(), self.step

        def go() -> None:
            network.zero_grad()
            with autocast(DEVICE):
                loss = errors(network, Schedule(), self.x0, step.t, step.noise).mean()
            loss.backward()

        return go

    def ours(self) -> Callable[[], object]:
        """dp_sgd's."""
        network = self.network()
        return lambda: self.mechanism.rule(network, self.step)

    def losses(self, network: nn.Module, sequence: bool) -> Tensor:
        """Of each image where its draws are a sequence, else of each row, over K."""
        x, t, noise = add_noise(Schedule(), self.x0, self.step.t, self.step.noise), self.step.t, self.step.noise
        if sequence:
            x, t, noise = (values.unflatten(0, (self.images, self.draws)) for values in (x, t, noise))
        error = (network(x, t) - noise).square().flatten(1).mean(dim=1)
        return error if sequence else error / self.draws

    def hooks(self) -> Callable[[], object]:
        """opacus's hooks: a gradient of each image, then the sum of the clipped."""
        network, sequence = self.network(), self.spec.kind == "mlp"
        wrapped = GradSampleModule(network, loss_reduction="sum")

        def go() -> None:
            for parameter in network.parameters():
                parameter.grad_sample = None
            self.losses(wrapped, sequence).sum().backward()
            found = [p.grad_sample for p in network.parameters()]
            if not sequence:
                found = [gradient.unflatten(0, (self.images, self.draws)).sum(dim=1) for gradient in found]
            norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in found]).norm(dim=0)
            weight = (1.0 / (norms + 1e-6)).clamp(max=1.0)
            for parameter, gradient in zip(network.parameters(), found, strict=True):
                parameter.grad = torch.einsum("i,i...->...", weight, gradient)
            noise_gradients(network)

        return go

    def ghost(self) -> Callable[[], object]:
        """opacus's ghost clipping: norms in a first backward pass, the sum in a second."""
        network, sequence = self.network(), self.spec.kind == "mlp"
        wrapped = GradSampleModuleFastGradientClipping(network, loss_reduction="sum")

        def go() -> None:
            losses = self.losses(wrapped, sequence)
            losses.sum().backward(retain_graph=True)
            network.zero_grad()
            weight = wrapped.get_clipping_coef()
            wrapped.disable_hooks()
            (weight * losses).sum().backward()
            wrapped.enable_hooks()
            noise_gradients(network)

        return go


def noise_gradients(network: nn.Module) -> None:
    for parameter in network.parameters():
        assert parameter.grad is not None
        parameter.grad.add_(torch.randn_like(parameter))


@pytest.mark.parametrize("case", CASES)
def test_a_private_step_beside_opacus(race, case):
    """Peers are those that compute what dp_sgd does; ghost clipping of a UNet is printed alone."""
    spec, images, draws, rounds = CASES[case]
    bench = Bench(spec, images, draws)
    peers = {"opacus's hooks": bench.hooks(), "opacus's ghost clipping": bench.ghost()}
    race(
        f"a differentially private gradient, {case}, {DEVICE.type}",
        bench.ours(),
        peers if spec.kind == "mlp" else {"opacus's hooks": peers["opacus's hooks"]},
        bench.plain(),
        "the plain gradient of the same rows",
        rounds=rounds,
        at_least=1,
        device=DEVICE.type,
    )

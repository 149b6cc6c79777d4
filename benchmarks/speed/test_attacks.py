"""Membership attacks on a UNet of 32x32 images: one by one beside plain loops of torch, together beside the network.

    pytest benchmarks/speed/test_attacks.py -s

A plain loop is what somebody would write from the paper in ten lines: the same network and batch, noise by torch.randn.
The floor of all is the calls of the network that an attack cannot do without, times the seconds of a call. How much is
saved where attacks share calls follows from counts, which a network without weights gives in no time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leakbench.api import Access, MembershipAttack, Release
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.pfami import PFAMI
from leakbench.attacks.membership.pia import PIA
from leakbench.attacks.membership.secmi import SecMI
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, CallCount
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec, build
from leakbench.runner.estimate.dry_run import DryRun
from leakbench.runtime.device import Rng, place, prepare
from leakbench.suite.load import load

COUNT, STREAMS, SCHEDULE = 32, Rng("speed", 0), Schedule()
ATTACKS: dict[str, MembershipAttack] = {"loss": Loss(), "pia": PIA(), "secmi": SecMI(), "pfami": PFAMI()}
CALLS = {"loss": 1, "pia": 2, "secmi": 11, "pfami": 20}
SHARED = 2  # loss and pfami ask about x_100, pia and secmi about x_0 at t = 0
NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = pytest.param("cuda", marks=[pytest.mark.gpu, NO_CUDA])
ABAR = torch.from_numpy(SCHEDULE.alpha_bar).float()
Eps = Callable[[Tensor, int], Tensor]


def spec_of(width: int) -> NetworkSpec:
    return NetworkSpec(kind="unet", shape=(3, 32, 32), width=width, blocks=1)


def network_of(width: int) -> nn.Module:
    return build(spec_of(width), STREAMS.of("weights")).eval().requires_grad_(False)


class Bench:
    """One network, its release, and some images."""

    def __init__(self, device: str, count: int = COUNT) -> None:
        self.device = torch.device(device)
        prepare(self.device)
        self.network = place(network_of(32), self.device)
        ids = torch.arange(count)
        self.x = torch.tanh(STREAMS.of("images").normal(ids, (3, 32, 32))).to(self.device)
        self.images = Images(self.x, ids.to(self.device), None)

    def together(self, attacks: dict[str, MembershipAttack]) -> tuple[dict[str, Any], CallCount]:
        """Scores by the harness, which has seen nothing before."""
        release = Release(self.network, SCHEDULE, STREAMS, (3, 32, 32), self.device, batch=COUNT)
        asked, calls = {name: AttackRequest(attack, False) for name, attack in attacks.items()}, CallCount()
        return AttackTarget.of(release, STREAMS).score(asked, self.images, calls)[0], calls

    @torch.no_grad()
    def loop(self, name: str) -> Tensor:
        """Scores by a plain loop over batches."""
        return torch.cat([LOOPS[name](self.eps, part) for part in self.x.split(COUNT)]).cpu()

    def eps(self, x: Tensor, t: int) -> Tensor:
        answer: Tensor = self.network(x, torch.full((len(x),), t, device=x.device))
        return answer

    @torch.no_grad()
    def calls(self, number: int) -> None:
        for _ in range(number):
            self.eps(self.x[:COUNT], 100)


def to(x: Tensor, t: int, noise: Tensor) -> Tensor:
    return ABAR[t].sqrt() * x + (1 - ABAR[t]).sqrt() * noise


def sums(x: Tensor, p: float = 2) -> Tensor:
    return x.abs().pow(p).flatten(1).sum(1)


def loss_loop(eps: Eps, x: Tensor) -> Tensor:
    noise = torch.randn_like(x)
    return -sums(eps(to(x, 100, noise), 100) - noise)


def pia_loop(eps: Eps, x: Tensor) -> Tensor:
    first = eps(x, 0)
    return -sums(first - eps(to(x, 200, first), 200), 4)


def secmi_loop(eps: Eps, x: Tensor) -> Tensor:
    def step(x: Tensor, s: int, u: int) -> Tensor:
        noise = eps(x, s)
        return to((x - (1 - ABAR[s]).sqrt() * noise) / ABAR[s].sqrt(), u, noise)

    for t in range(0, 90, 10):
        x = step(x, t, t + 10)
    return -sums(step(step(x, 90, 100), 100, 90) - x)


def pfami_loop(eps: Eps, x: Tensor) -> Tensor:
    noise, rises, side = torch.randn_like(x), [], int(32 * 0.8111)
    edge = (32 - side) // 2
    cropped = F.interpolate(x[:, :, edge : edge + side, edge : edge + side], size=(32, 32), mode="bilinear")
    for t in range(0, 451, 50):
        before, after = (sums(eps(to(image, t, noise), t) - noise) for image in (x, cropped))
        rises.append((after - before) / before)
    return torch.stack(rises).mean(0)


LOOPS = {"loss": loss_loop, "pia": pia_loop, "secmi": secmi_loop, "pfami": pfami_loop}


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_beside_a_plain_loop(race, name, device):
    """At least as fast; both are nearly all network, so that a tie falls to either side of 1."""
    bench = Bench(device)
    found = race(
        f"{name} on a UNet, {COUNT} images of 32x32",
        lambda: bench.together({name: ATTACKS[name]})[0][name],
        {"a plain loop": lambda: bench.loop(name)},
        lambda: bench.calls(CALLS[name]),
        f"{CALLS[name]} call{'s' * (CALLS[name] > 1)} of the network",
        rounds=9 if CALLS[name] < 5 else 3,
        at_least=1,
        device=device,
    )
    if name in ("pia", "secmi"):  # the others draw noise
        torch.testing.assert_close(torch.from_numpy(found["ours"]).float(), found["a plain loop"], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_attacks_together_beside_the_calls_that_they_need(race, device):
    """Little but the network: distinct calls times the seconds of a call, and nothing is asked twice."""
    bench, distinct = Bench(device), sum(CALLS.values()) - SHARED
    found = race(
        f"{', '.join(ATTACKS)} together on a UNet, {COUNT} images of 32x32",
        lambda: bench.together(ATTACKS)[1],
        {f"{distinct} calls of the network": lambda: bench.calls(distinct)},
        at_most=1.1,
        device=device,
    )
    calls = found["ours"]
    assert isinstance(calls, CallCount) and calls.together <= 1.05 * distinct and calls.apart == distinct + SHARED


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_attacks_together_beside_plain_loops(race, device):
    """On images that do not fill their last batch, which a plain loop does not pad."""
    bench = Bench(device, COUNT + 9)
    race(
        f"{', '.join(ATTACKS)} together on a UNet, {COUNT + 9} images of 32x32 in batches of {COUNT}",
        lambda: bench.together(ATTACKS)[1],
        {"plain loops": lambda: [bench.loop(name) for name in ATTACKS]},
        rounds=2,
        device=device,
    )


@pytest.mark.parametrize(("suite", "least"), [("cifar10", 1.07), ("strongest", 1.25)])
def test_what_sharing_saves(benchmark, suite, least):
    """Calls of the network as if each attack ran alone, over those that are made, by a run on a network that counts."""
    attacks = [
        attack
        for attack in load(suite).attacks.values()
        if isinstance(attack, MembershipAttack)
        and attack.access is Access.DENOISER
        and not attack.adaptive
        and not attack.auxiliary_models()
    ]
    together, alone = benchmark.pedantic(lambda: DryRun().membership(attacks, spec_of(8), SCHEDULE), rounds=1)
    apart = sum(one.scoring for one in alone)
    benchmark.extra_info.update(calls_apart=apart, calls_together=together, saved=round(apart / together, 3))
    names = ", ".join(attack.name for attack in attacks)
    print(f"\n{suite}, {names}: {apart:g} calls an image apart, {together:g} made: {apart / together:.2f}")
    assert apart >= least * together


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("width", [32, 64, 128])
@pytest.mark.parametrize("way", ["channels_last", "bf16"])
def test_another_precision_or_layout_beside_float32(race, width, way, device):
    """A call of the network. Taken for scores is what leaves them as they are: see docs/performance.md."""
    prepare(torch.device(device))
    plain = network_of(width).to(device)
    other: Any = copy.deepcopy(plain).to(memory_format=torch.channels_last) if way == "channels_last" else plain
    count = 1024 // width if device == "cpu" else 256
    x = torch.tanh(STREAMS.of("images").normal(torch.arange(count), (3, 32, 32))).to(device)
    t = torch.full((count,), 100, device=device)

    @torch.no_grad()
    def call(network: nn.Module) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=way == "bf16" and network is other):
            answer: Tensor = network(x, t)
        return answer

    usual = plain if way == "channels_last" else copy.deepcopy(plain)
    found = race(
        f"{way}, a UNet of width {width}, {count} images of 32x32",
        lambda: call(other),
        {"float32 in the usual layout": lambda: call(usual)},
        rounds=5,
        device=device,
    )
    apart = (found["ours"] - found["float32 in the usual layout"]).norm() / found["ours"].norm()
    print(f"answers differ by {apart:.1e} of their size")

"""How long EraseDiff, SalUn and Selective Amnesia take to forget equally well, and how long retraining takes.

    OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 pytest benchmarks/speed/test_unlearning.py -s

Digits 8x8, a model over-fitted on 360 images, the digit 3 to be forgotten, settings of the suite `unlearning`. A method
takes steps until at most 5 % of 200 samples that are asked for as a 3 are recognised as one (by a classifier of all
digits, with noise as an eleventh class: two methods put noise in the 3's place), while its loss on the images that stay
is at most 1.5 times the base's; whoever breaks the model has forgotten sooner. It is looked at every tenth step, which
is not timed. Printed for each: steps, and processor seconds of one thread with all that comes before the first step
(mask, samples, Fisher pass). No library has these methods to be timed beside: the peer is retraining. The floor
is what the bare network takes for as many evaluations as the method counts, each a third of a forward and backward pass
in batches of 64 (an estimate: a forward pass alone, or a larger batch, may take less).
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from leakbench.api import Task
from leakbench.data.digits import digits
from leakbench.defenses._unlearning import Edit, Unlearning
from leakbench.defenses.baseline import Baseline
from leakbench.defenses.erasediff import EraseDiff
from leakbench.defenses.retrain import Retrain
from leakbench.defenses.salun import SalUn
from leakbench.defenses.selective_amnesia import SelectiveAmnesia
from leakbench.models.classifiers import train_classifier
from leakbench.models.denoiser_training import errors, trainable
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.models.training.loop import Recipe, Watch, optimise
from leakbench.runtime.device import Rng, prepare

CPU, STREAMS, LABEL, COUNT = torch.device("cpu"), Rng("speed", 0), 3, 360
SPEC = NetworkSpec(kind="mlp", shape=(1, 8, 8), width=96, blocks=4, conditions=10)
BASE = Baseline(steps=3000, batch=64, lr=0.008)
METHODS = {
    "erasediff": EraseDiff(lr=0.01, eta=0.03),
    "erasediff, inner = 0": EraseDiff(lr=0.01, eta=0.03, inner=0),
    "salun": SalUn(lr=0.01, alpha=10.0),
    "selective_amnesia": SelectiveAmnesia(lr=0.01, lam=0.001),
}
EVERY, DRAWS, SAMPLES, SHARE, HARM, ROUNDS = 10, 10, 200, 0.05, 1.5, 3


@dataclass(frozen=True)
class Found:
    """Share of samples asked for as a 3 that are recognised as one; losses on the images to forget and to keep."""

    share: float
    forget: float
    keep: float


@dataclass(frozen=True)
class Setting:
    """The over-fitted model as the task's base, the retrained one, and who tells a 3."""

    task: Task
    retrained: nn.Module
    retraining: float  # processor seconds
    classifier: nn.Module

    def look(self, module: nn.Module) -> Found:
        release = self.task.release(module)
        samples = release.sample(SAMPLES, torch.full((SAMPLES,), LABEL))
        assert self.task.forget is not None
        with torch.no_grad():
            share = float((self.classifier(samples).argmax(dim=1) == LABEL).float().mean())
        return Found(share, self.loss(module, self.task.forget), self.loss(module, ~self.task.forget))

    def loss(self, module: nn.Module, rows: Tensor) -> float:
        """The denoising loss of some images, at spaced timesteps with one noise each."""
        assert self.task.labels is not None
        index = rows.nonzero()[:, 0].repeat(DRAWS)
        t = torch.arange(len(index)) % DRAWS * (Schedule.T // DRAWS) + Schedule.T // (2 * DRAWS)
        noise = STREAMS.of("probe").normal(torch.arange(len(index)), SPEC.shape)
        with torch.no_grad():
            row = errors(module, self.task.schedule, self.task.images[index], t, noise, self.task.labels[index])
        return float(row.mean())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    prepare(CPU)
    yield
    torch.set_num_threads(before)


@cache
def setting() -> Setting:
    """Trained once for all methods."""
    data = digits("")
    pixels = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    labels = torch.from_numpy(data.labels)
    images, known, numbers = pixels[:COUNT], labels[:COUNT], torch.arange(COUNT)
    task = Task(images, known, None, "label", numbers, pixels[COUNT:], SPEC, Schedule(steps=40), STREAMS, CPU)
    base = BASE.release(BASE.fit(task), task)
    task = replace(task, base=base, forget=known == LABEL, forget_label=LABEL, chain=(BASE,))
    began = time.process_time()
    retrained = Retrain().fit(task).networks["denoiser"]
    spent = time.process_time() - began
    noise = noise_images(1200)
    both = torch.cat([pixels, noise]), torch.cat([labels, torch.full((len(noise),), 10)])
    return Setting(task, retrained, spent, train_classifier(*both, 11, STREAMS.of("classifier")))


def noise_images(count: int) -> Tensor:
    """Uniform noise about as wide as images, of many contrasts and brightnesses."""
    stream, numbers = STREAMS.of("noise images"), torch.arange(count)
    pixels, contrast, mean = (
        stream.uniform(numbers, shape, draw=draw).float()
        for draw, shape in enumerate([SPEC.shape, (1, 1, 1), (1, 1, 1)])
    )
    return ((2 * pixels - 1) * (0.3 + 1.7 * contrast) + 1.2 * mean - 0.6).clamp(-1, 1)


@dataclass
class Forgotten:
    """Cost of getting there, and where that was; reached: whether it was in time."""

    steps: int
    seconds: float
    evaluations: int
    last: Found
    reached: bool


def forget(method: Unlearning, known: Setting) -> Forgotten:
    """Unlearning.fit, looked at on its way."""
    task, seen, looked = known.task, list[Found](), 0.0
    assert task.base is not None
    most = HARM * known.look(task.base.network).keep

    def enough() -> bool:
        return seen[-1].share <= SHARE and seen[-1].keep <= most

    def stop(module: nn.Module) -> bool:
        nonlocal looked
        began = time.process_time()
        seen.append(known.look(module))
        looked += time.process_time() - began
        return enough()

    began = time.process_time()
    edit = Edit(task, trainable(task.base.network, CPU), task.base.network, method.batch)
    recipe = Recipe(method.steps, method.batch, method.lr, ema=0.0)
    more = {"stream": edit.stream(), "numbers": 2 * method.batch * edit.pixels, "watch": Watch(EVERY, stop)}
    optimise(edit.network, method.rule(edit), recipe, edit.pairs, **more)
    spent, steps = time.process_time() - began - looked, EVERY * len(seen)
    evaluations = method.first_cost(task) + method.step_cost() * steps * method.batch
    return Forgotten(steps, spent, evaluations, seen[-1], enough())


def seconds_an_evaluation(network: nn.Module, batch: int) -> float:
    """Of the bare network, forward and backward counting as three."""
    x, t, label = torch.randn(batch, *SPEC.shape), torch.arange(batch), torch.arange(batch) % 10

    def go() -> float:
        began = time.process_time()
        for _ in range(10):
            network.zero_grad()
            network(x, t, label).square().mean().backward()
        return (time.process_time() - began) / (10 * 3 * batch)

    return statistics.median(go() for _ in range(7))


@pytest.mark.parametrize("name", METHODS)
def test_seconds_until_forgotten_beside_retraining(benchmark, name):
    known, method = setting(), METHODS[name]
    assert known.task.base is not None
    found: list[Forgotten] = []
    benchmark.pedantic(lambda: found.append(forget(method, known)), rounds=ROUNDS)
    made, spent = found[0], statistics.median(one.seconds for one in found)
    floor = made.evaluations * seconds_an_evaluation(trainable(known.task.base.network, CPU), method.batch)
    benchmark.extra_info |= {
        "claim": f"{name} until the digit {LABEL} is forgotten",
        "ours": short(spent),
        "peer": short(known.retraining),
        "peer_name": f"retraining, {BASE.steps} steps",
        "ratio": short(known.retraining / spent),
        "floor": short(floor),
        "floor_name": "the bare network for as many evaluations, each a third of forward and backward",
        "steps": made.steps,
        "samples recognised": made.last.share,
        "loss on what stays": short(made.last.keep),
    }
    others = f"base {told(known.look(known.task.base.network))}; retrained {told(known.look(known.retrained))}"
    print(
        f"\n{name}: {made.steps} steps, {spent:.2f} s (floor {floor:.2f} s), {known.retraining / spent:.1f} times as "
        f"fast as retraining ({known.retraining:.1f} s); samples recognised, loss on what goes, on what stays: "
        f"{told(made.last)}; {others}"
    )
    assert made.reached, f"{name} did not reach the level in {method.steps} steps"


def told(found: Found) -> str:
    return f"{found.share:.1%} {found.forget:.3f} {found.keep:.3f}"


def short(value: float) -> float:
    return float(f"{value:.3g}")

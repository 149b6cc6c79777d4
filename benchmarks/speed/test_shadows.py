"""What training shadow models together saves: 16 networks one after the other, and together, pair by pair.

    pytest benchmarks/speed/test_shadows.py -s

Together is what a run does: on a CUDA device one batched pass, on the CPU two processes of one thread each, which takes
two cores. A round times one after the other, in this process (on the CPU on one thread), and then together, so that a
busy machine slows both; the median of the rounds' ratios is printed and kept in `extra_info`. Starting the processes is
left out: a run starts them once for all its cells. The UNet is there for the CUDA device alone.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import pytest
import torch

from leakbench.api import Task
from leakbench.defenses.baseline import Baseline
from leakbench.models.denoiser_training import train_denoisers
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng, prepare

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SHADOWS, IMAGES, ROUNDS = 16, 700, 3
CASES = {"mlp": (NetworkSpec(kind="mlp", shape=(1, 8, 8), width=192, blocks=4), Baseline(steps=300, batch=64))}
if DEVICE.type == "cuda":
    CASES["unet"] = NetworkSpec(kind="unet", shape=(1, 16, 16), width=16, blocks=1), Baseline(steps=50, batch=32)


def task(spec: NetworkSpec, number: int) -> Task:
    streams, rows = Rng(f"speed/{number}", 0), torch.arange(IMAGES)
    return Task(
        images=streams.of("images").normal(rows, spec.shape),
        labels=None,
        attribute=None,
        condition="none",
        near_duplicates=rows,
        heldout=torch.empty(0, *spec.shape),
        network=spec,
        schedule=Schedule(),
        streams=streams,
        device=DEVICE,
    )


@contextmanager
def training_together(tasks: list[Task]) -> Iterator[Callable[[Baseline], object]]:
    """Trains all tasks by a defense."""
    if DEVICE.type == "cuda":
        yield lambda defense: train_denoisers(tasks, defense.recipe, defense.name)
        return
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), prepare, (DEVICE,)) as pool:
        yield lambda defense: list(pool.map(defense.fit, tasks))


def seconds(go: Callable[[], object]) -> float:
    began = time.perf_counter()
    go()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


@pytest.mark.parametrize("case", CASES)
def test_shadows_together_beside_one_after_the_other(benchmark, case):
    """The ratio of the times, median over rounds of pairs."""
    prepare(DEVICE)
    spec, defense = CASES[case]
    tasks = [task(spec, number) for number in range(SHADOWS)]
    alone, together = [], []
    with training_together(tasks) as train:
        few = defense.model_copy(update={"steps": 5})
        few.fit(tasks[0])
        train(few)
        benchmark.pedantic(
            lambda: together.append(seconds(lambda: train(defense))),
            setup=lambda: alone.append(seconds(lambda: [defense.fit(each) for each in tasks])),
            rounds=ROUNDS,
        )
    ratio = statistics.median(a / b for a, b in zip(alone, together, strict=True))
    benchmark.extra_info["times faster"] = round(ratio, 2)
    medians = f"{statistics.median(alone):.1f} s one after the other, {statistics.median(together):.1f} s together"
    print(f"\n{SHADOWS} x {case} on {DEVICE.type}: {ratio:.2f} times faster ({medians}; load {os.getloadavg()[0]:.1f})")

"""Why a CPU run takes one worker a core with one thread each: the same training steps with one thread and with two.

    pytest benchmarks/speed --benchmark-group-by=func

On a machine with two cores, two processes of one thread do twice the work of the one-thread row in the same time; the
two-thread row has to be twice as fast as it to keep up.
"""

import subprocess
import sys

import pytest

_STEPS = """
import sys, time, torch
from torch.nn import functional as F
from leakbench.runtime.device import Rng
from leakbench.models.networks import NetworkSpec, build
from leakbench.models.training.loop import Recipe, train
torch.set_num_threads(int(sys.argv[1]))
streams = Rng("speed", 0)
images = streams.of("images").normal(torch.arange(360), (1, 8, 8))
def loss(module, batch):
    return F.mse_loss(module(images[batch.index] + batch.noise, batch.t), batch.noise)
def go(steps):
    network = build(NetworkSpec(kind="mlp", shape=(1, 8, 8), width=256, blocks=4), streams.of("weights"))
    train(network, loss, Recipe(steps, batch=64), stream=streams.of("train"), count=360, timesteps=1000,
    noise_shape=(1, 8, 8))
go(20)
began = time.perf_counter()
go(300)
print(time.perf_counter() - began)
"""


def _seconds(threads: int) -> float:
    done = subprocess.run([sys.executable, "-c", _STEPS, str(threads)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.parametrize("threads", [1, 2])
def test_training_steps(benchmark, threads):
    """300 training steps of the digits network, in a process of its own; the seconds inside are in `extra_info`."""
    inside = benchmark.pedantic(_seconds, args=(threads,), rounds=3)
    benchmark.extra_info["seconds of 300 steps"] = inside

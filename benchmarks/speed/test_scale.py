"""What attacking more images, and by more attacks, costs: seconds and memory, on one thread.

    pytest benchmarks/speed/test_scale.py -s

The images of 32x32 lie in a file; 3,125, 12,500 and 50,000 of them are attacked by loss, SecMI and PIA in a process of
its own each, whose peak memory is what it takes; 3,125 by loss alone and by four attacks. The network is one
convolution: what is measured is the harness. Seconds are the processor's, so that a busy machine does not count.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

SIZES = (3125, 12_500, 50_000)
LIMIT = 4 * 2**30  # bytes

_ATTACK = """
import json, resource, sys, time
import numpy as np, torch
from leakbench.api import Release
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.pfami import PFAMI
from leakbench.attacks.membership.pia import PIA
from leakbench.attacks.membership.secmi import SecMI
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.runtime.device import Rng
from leakbench.models.diffusion import Schedule
from leakbench.data.image_view import ImageView
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget

class Cheap(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.calls = 0
    def forward(self, x, t, label=None):
        self.calls += len(x)
        return self.body(x)

torch.set_num_threads(1)
torch.manual_seed(0)
count = int(sys.argv[2])
source = ImageView(np.memmap(sys.argv[1], np.uint8, "r").reshape(-1, 32, 32, 3)).subset(np.arange(count))
streams = Rng("scale", 0)
network = Cheap().eval().requires_grad_(False)
release = Release(network, Schedule(), streams, (3, 32, 32), torch.device("cpu"), batch=64)

def part(k):
    rows = np.arange(count)[k::4]
    return Images(source.subset(rows), torch.from_numpy(rows), None)

names = ("member", "nonmember", "calibration_in", "calibration_out")
parts = {name: part(k) for k, name in enumerate(names)}
attacks = [{"loss": Loss, "pia": PIA, "secmi": SecMI, "pfami": PFAMI}[name]() for name in sys.argv[3:]]
asked = {attack.name: AttackRequest(attack, False) for attack in attacks}
began = time.process_time()
evidence, _ = collect_membership_evidence(AttackTarget.of(release, streams), asked, parts)
seconds = time.process_time() - began
scored = sum(len(part) for part in vars(evidence["loss"]).values() if part is not None)
try:  # of this program alone: on Linux ru_maxrss keeps the size of the process that started it
    status = open("/proc/self/status").read()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
except FileNotFoundError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": seconds, "peak": peak, "scored": scored, "calls": network.calls}))
"""


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """A file of as many random images as the largest size."""
    path = tmp_path_factory.mktemp("scale") / "pixels"
    made = np.memmap(path, np.uint8, "w+", shape=(max(SIZES), 32, 32, 3))
    for number, block in enumerate(np.split(made, len(made) // 625)):
        block[:] = np.random.default_rng(number).integers(0, 256, block.shape, dtype=np.uint8)
    made.flush()
    return path


def attacked(pixels, count: int, *attacks: str) -> dict[str, float]:
    command = [sys.executable, "-c", _ATTACK, str(pixels), str(count), *attacks]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_cost_is_linear_and_memory_bounded(pixels, fact):
    found = {count: attacked(pixels, count, "loss", "secmi", "pia") for count in SIZES}
    assert all(cost["scored"] == count for count, cost in found.items())
    first, *others = SIZES
    for count in others:
        ratio = found[count]["seconds"] / count / (found[first]["seconds"] / first)
        fact(f"time an image, {count // first} times {first:,} images over {first:,}", ratio, "times", at_most=1.5)
    fact(
        f"memory of an attack on {count:,} images of 32x32", found[count]["peak"] / 2**30, "GiB", at_most=LIMIT / 2**30
    )


def test_cost_of_attacks_is_that_of_their_calls(pixels, fact):
    one, four = (attacked(pixels, SIZES[0], *names) for names in (["loss"], ["loss", "pia", "secmi", "pfami"]))
    assert one["scored"] == four["scored"] == SIZES[0]
    fact("calls of the network, 4 attacks over 1", four["calls"] / one["calls"], "times")
    ratio = four["seconds"] / four["calls"] / (one["seconds"] / one["calls"])
    fact("time a call of the network, 4 attacks over 1", ratio, "times", at_most=1.5)

"""A small task on digits, and a plain model over-fitted on it: trained once for all tests that protect one."""

from dataclasses import replace

import numpy as np
import pytest


@pytest.fixture(scope="session")
def digits_task():
    """Task of 40 digits, 100 held out; an MLP of width 64; a walk of 10 steps."""
    import torch
    from sklearn.datasets import load_digits

    from leakbench.api import Task
    from leakbench.models.diffusion import Schedule
    from leakbench.models.networks import NetworkSpec
    from leakbench.runtime.device import Rng

    torch.set_num_threads(1)
    order = np.random.default_rng(0).permutation(1797)
    images = torch.tensor(load_digits().images[order] / 8 - 1, dtype=torch.float32)[:, None]
    spec = NetworkSpec(kind="mlp", shape=(1, 8, 8), width=64, blocks=3)
    return Task(
        images[:40],
        None,
        None,
        "none",
        torch.arange(40),
        images[40:140],
        spec,
        Schedule(steps=10),
        Rng("digits", 0),
        torch.device("cpu"),
    )


@pytest.fixture(scope="session")
def overfitted(digits_task):
    """The plain model's release. It claims an epsilon, so that a test can see the claim being dropped."""
    from leakbench.api import Guarantee
    from leakbench.defenses.baseline import Baseline

    defense = Baseline(steps=1000, batch=64, lr=4e-3)
    release = defense.release(defense.fit(digits_task), digits_task)
    return replace(release, guarantee=Guarantee(epsilon=8.0), info={"of": "base"})


@pytest.fixture(scope="session")
def task(digits_task, overfitted):
    """The task of a defense that builds on the over-fitted model."""
    return replace(digits_task, base=overfitted)


@pytest.fixture(scope="session")
def small():
    """CPSample's training parameters, small."""
    return {"steps": 2000, "batch": 64, "lr": 3e-3, "width": 64, "blocks": 2}


@pytest.fixture(scope="session")
def artefacts(task, small):
    """What CPSample trained."""
    from leakbench.defenses.cpsample import CPSample

    return CPSample(**small).fit(task)


@pytest.fixture(scope="session")
def protect(task, small, artefacts):
    """protect(**sampling parameters): a protected release."""
    from leakbench.defenses.cpsample import CPSample

    return lambda **parameters: CPSample(**small, **parameters).release(artefacts, task)

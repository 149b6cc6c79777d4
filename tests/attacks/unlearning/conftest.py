"""A planted leak and its null: a model over-fitted on three kinds of tiny images, and one trained on two of them."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from leakbench.api import Access, QueriedModel, Release, UnlearningContext
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackTarget, AuxiliaryRelease
from leakbench.models import networks
from leakbench.models.denoiser_training import errors
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.models.training.loop import Recipe, train
from leakbench.runtime.device import Rng

STREAMS = Rng("tiny unlearning", 0)
SHAPE, LABELS, LABEL, EACH = (1, 6, 6), 3, 1, 16
CPU = torch.device("cpu")


def prototypes():
    return STREAMS.of("prototypes").normal(torch.arange(LABELS), SHAPE).sign() * 0.5


def group(label, first):
    """16 images of a label: its prototype, and noise; one draw of a continuous law, so none repeats."""
    ids = torch.arange(first, first + EACH)
    images = prototypes()[label] + 0.25 * STREAMS.of("images").normal(ids, SHAPE)
    return Images(images.clamp(-1, 1), ids, torch.full((EACH,), label))


def judge(images):
    """Label probabilities by the distance to the prototypes."""
    return (-2.0 * (images[:, None] - prototypes()).square().flatten(2).sum(dim=2)).softmax(dim=1)


def joined(*groups):
    columns = zip(*((one.images, one.ids, one.labels) for one in groups), strict=True)
    return Images(*(torch.cat(column) for column in columns))


def fitted(data, steps=800):
    """A release that knows these images by heart."""
    spec = NetworkSpec(kind="mlp", shape=SHAPE, width=64, blocks=2, conditions=LABELS)
    schedule = Schedule(steps=10)

    def loss(module, batch):
        return errors(module, schedule, data.images[batch.index], batch.t, batch.noise, data.labels[batch.index]).mean()

    network = networks.build(spec, STREAMS.of("weights"))
    recipe = Recipe(steps, batch=32, lr=8e-3)
    train(network, loss, recipe, stream=STREAMS.of("train"), count=len(data.ids), timesteps=1000, noise_shape=SHAPE)
    return Release(network, schedule, STREAMS, SHAPE, CPU, batch=32)


@pytest.fixture(scope="session")
def world():
    """forget, unseen, retained: images; before, retrained: releases; its classifier; `ground(attack, ...)`."""
    torch.set_num_threads(1)
    forget, unseen = group(LABEL, 0), group(LABEL, 100)
    retained = joined(group(0, 200), group(2, 300))
    releases = {"before": fitted(joined(forget, retained)), "retrained": fitted(retained)}
    return SimpleNamespace(
        forget=forget,
        unseen=unseen,
        retained=retained,
        reference_classifier=judge,
        streams=STREAMS,
        label=LABEL,
        **releases,
    )


@pytest.fixture(scope="session")
def ground(world):
    """ground(attack, model, before=None, batch=32, raw=None, **more): what an attack on a release is given."""

    def of(attack, model, before=None, batch=32, raw=None, **more):
        raw = attack.access is Access.WEIGHTS if raw is None else raw

        def seen(release):
            source = QueriedRelease(Release.with_batch(release, batch), partial(release.sample, 4))
            target = AttackTarget(source, STREAMS, {"retrained": AuxiliaryRelease(source, np.arange(0))})

            def ask(question, images):
                return target.ask(question, attack, raw, images)

            return QueriedModel(ask, target.release if attack.access is Access.WEIGHTS else None)

        given = {
            "model": seen(model),
            "before": before and seen(before),
            "retrained": seen(world.retrained),
            "forget": world.forget,
            "unseen": world.unseen,
            "retained": world.retained,
            "label": LABEL,
            "reference_classifier": judge,
            "streams": STREAMS,
            "device": CPU,
            "first": 50,
        }
        return UnlearningContext(**(given | more))

    return of


@pytest.fixture
def losses(world):
    """losses(release, images, t, draws): denoising losses by a loop over images, timesteps and draws."""

    def of(release, images, t, draws):
        found = []
        for image, number, label in zip(images.images, images.ids, images.labels, strict=True):
            each = []
            for at in t:
                alpha_bar = np.prod(1.0 - np.linspace(1e-4, 0.02, 1000)[: at + 1])
                for draw in range(draws):
                    noise = STREAMS.of("attacking", "forward").normal(number[None], SHAPE, draw)
                    x = float(alpha_bar**0.5) * image[None] + float((1 - alpha_bar) ** 0.5) * noise
                    with torch.no_grad():
                        answer = release.network(x, torch.tensor([at]), label[None])
                    each.append(float((answer - noise).double().square().sum()))
            found.append(sum(each) / len(each))
        return np.array(found)

    return of

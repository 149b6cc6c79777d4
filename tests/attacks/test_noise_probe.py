"""The base's noise as a probe, against a loop written by hand, and on a target that knows six images by heart."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from leakbench.api import REFERENCE, Access
from leakbench.attacks.membership.noise_probe import NoiseProbe
from leakbench.testing.toys import MemorisingNetwork, toy_images, toy_release, toy_view

IMAGES = toy_images(12)
ALPHA_BAR = [float(a) for a in np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))]


def moved(network, x, s, u):
    eps = network(x, torch.full((len(x),), s))
    x0 = (x - math.sqrt(1 - ALPHA_BAR[s]) * eps) / math.sqrt(ALPHA_BAR[s])
    return x0 if u is None else math.sqrt(ALPHA_BAR[u]) * x0 + math.sqrt(1 - ALPHA_BAR[u]) * eps


def test_it_is_the_plain_loop():
    view = toy_view(Access.DENOISER, IMAGES, auxiliary_models=(REFERENCE,))
    base, target = toy_release(weights="reference").network, toy_release().network
    x = IMAGES
    for s, u in ((0, 333), (333, 666), (666, 999)):
        x = moved(base, x, s, u)
    for s, u in ((999, 0), (0, None)):
        x = moved(target, x, s, u)
    scores = NoiseProbe(inversion=3, steps=2).score(view, IMAGES, None)
    assert scores.tolist() == pytest.approx((-(IMAGES - x).flatten(1).norm(dim=1)).tolist(), rel=1e-4)
    assert view.queries == 2  # of the target; the base is the attacker's own


def test_members_come_back_and_others_do_not():
    release = toy_release()
    network = MemorisingNetwork(IMAGES[:6], release.network.spec, release.schedule)
    view = toy_view(Access.DENOISER, IMAGES, release=replace(release, network=network), auxiliary_models=(REFERENCE,))
    scores = NoiseProbe().score(view, IMAGES, None)
    assert scores[:6].mean() > scores[6:].mean()
    assert NoiseProbe().needs.walked == 100

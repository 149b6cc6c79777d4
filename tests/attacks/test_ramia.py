"""Range membership: the trimmed mean of a range, and a range of one image, which is the base attack."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from leakbench.api import MembershipAttack, Release
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.ramia import RaMIA, rotate, trimmed_mean
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng

SHAPE, STREAMS = (1, 8, 8), Rng("ramia", 0)
IMAGES = torch.tanh(STREAMS.of("images").normal(torch.arange(6), SHAPE))


class Sine(torch.nn.Module):
    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return torch.sin(2 * x) * torch.linspace(0, 1, 8)


def scored(attack: MembershipAttack, order: slice = slice(None), batch: int = 8) -> tuple[np.ndarray, float]:
    release = Release(Sine(), Schedule(), STREAMS, SHAPE, torch.device("cpu"), batch=batch)
    images = Images(IMAGES[order], torch.arange(6)[order], None)
    scores, queries = AttackTarget.of(release, STREAMS).score({"": AttackRequest(attack, False)}, images)
    return scores[""], queries[""]


def test_the_trimmed_mean_is_the_published_one():
    """ml_privacy_meter @e384af8: of 1 .. 8 with a quarter cut."""
    scores = torch.arange(1.0, 9.0)[None]
    assert [float(trimmed_mean(scores, trim, 0.25)) for trim in ("top", "bottom", "none")] == [3.5, 5.5, 4.5]


def test_a_range_of_the_image_alone_is_the_base_attack():
    alone, calls = scored(RaMIA(versions=(), draws=2))
    assert calls == 2 and np.array_equal(alone, scored(Loss(draws=2))[0])


def test_a_range_is_scored_by_hand():
    """Mirrored and upside down, with the noise of the image: the two better of three."""
    level = float(Schedule().alpha_bar[100])
    noise = STREAMS.of("attacking", "forward").normal(torch.arange(6), SHAPE, 0)

    def loss(x: torch.Tensor) -> torch.Tensor:
        answer = Sine()(level**0.5 * x + (1 - level) ** 0.5 * noise, torch.tensor(100))
        return (answer - noise).square().sum((1, 2, 3))

    each = -torch.stack([loss(IMAGES), loss(IMAGES.flip(3)), loss(IMAGES.flip(2))], dim=1)
    found, calls = scored(RaMIA(versions=("mirrored", "upside_down")))
    assert calls == 3 and np.allclose(found, each.sort(dim=1).values[:, 1:].mean(1), rtol=1e-5)
    without = scored(RaMIA(versions=("mirrored", "upside_down"), centre=False, trim="none"))[0]
    assert np.allclose(without, each[:, 1:].mean(1), rtol=1e-5)


def test_an_image_is_turned_alike_in_every_batch():
    assert np.allclose(scored(RaMIA(), slice(3, 6), 2)[0], scored(RaMIA())[0][3:], rtol=1e-5)


def test_a_right_angle_turns_pixels_onto_pixels():
    image = torch.arange(25.0).view(1, 1, 5, 5)
    turned = rotate(image, torch.tensor([90.0]))
    assert torch.allclose(turned, image.rot90(1, (2, 3)), atol=1e-4) or torch.allclose(
        turned, image.rot90(-1, (2, 3)), atol=1e-4
    )
    wide = rotate(torch.arange(15.0).view(1, 1, 3, 5), torch.tensor([180.0]))
    assert torch.allclose(wide, torch.arange(15.0).flip(0).view(1, 1, 3, 5), atol=1e-4)


def test_an_empty_range_is_refused():
    with pytest.raises(ValidationError, match="leave no image in the range"):
        RaMIA(versions=(), centre=False)

"""Frequency-filtered loss, SecMI and PIA: FreMIA's own scores, and what a linear filter must do.

The golden numbers are made by poetic2/FreMIA @68395e4 (DDIM/components.py and filter.py, t = 2, s = 0.2) on a
closed-form denoiser and six closed-form images of 16x16, with our noise in the place of its own: distances of its
naive attack and SecMI at interval 100, of its PIA at interval 200, without the filter and with it.
"""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from leakbench.api import Release
from leakbench.attacks.membership._frequencies import _weights, filtered
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.pia import PIA
from leakbench.attacks.membership.secmi import SecMI
from leakbench.attacks.membership.secmi_nn import SecMINN
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng

SHAPE = (2, 16, 16)
IMAGES = torch.sin(0.37 * torch.arange(6 * 512, dtype=torch.float32) + 0.1).view(6, *SHAPE)
IMAGES = IMAGES * torch.linspace(0.5, 1.0, 6).view(6, 1, 1, 1)
STREAMS = Rng("golden", 0)
OF_RATIO = {100: 0.11714168825855721, 200: 0.27414060035185756}  # (sigma/psi)^2 at 100 and ^4 at 200: x_0's units
GOLDEN = [
    (SecMI(t=100, k=100), 1.0, [5.33767, 4.261172, 4.21153, 5.038668, 6.351811, 7.921925]),
    (
        SecMI(t=100, k=100, frequencies="low"),
        1.0,
        [3.960544, 1.968758, 0.9236707, 0.7386693, 1.24901, 2.210639],
    ),
    (PIA(), OF_RATIO[200], [14.33204, 20.26737, 37.51367, 63.33091, 90.37711, 111.0732]),
    (PIA(frequencies="low"), OF_RATIO[200], [5.276467, 3.887256, 7.007613, 14.38282, 25.37916, 36.47081]),
    (Loss(), OF_RATIO[100], [41.1993, 54.06797, 52.67463, 56.00944, 58.70761, 69.47205]),
    (Loss(frequencies="low"), OF_RATIO[100], [18.00345, 25.86801, 19.42799, 22.19757, 17.39404, 34.16383]),
]


class ClosedForm(torch.nn.Module):
    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        t = t.float().view(-1, 1, 1, 1)
        return 0.8 * torch.sin(2 * x + t / 150) + 0.3 * x * torch.cos(t / 400)


@pytest.mark.parametrize(("attack", "scale", "wanted"), GOLDEN, ids=lambda one: str(getattr(one, "name", "")))
def test_scores_are_those_of_the_authors_code(attack, scale, wanted):
    """In units of x_0, in which FreMIA compares; the images rank alike in both."""
    release = Release(ClosedForm(), Schedule(), STREAMS, SHAPE, torch.device("cpu"), batch=6)
    asked = {"": AttackRequest(attack, False)}
    scores = AttackTarget.of(release, STREAMS).score(asked, Images(IMAGES, torch.arange(6), None))[0][""]
    assert np.allclose(-scores * scale, wanted, rtol=1e-4)
    assert np.array_equal(np.argsort(-scores), np.argsort(wanted))


@pytest.mark.parametrize("frequencies", ["low", "band"])
def test_a_filter_keeps_the_energy_that_its_weights_say(frequencies):
    """Parseval, by numpy: ||F(r)||^2 = sum |weight FFT(r)|^2 / pixels, with weights that are alike at f and -f."""
    error = torch.randn(3, 2, 12, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = _weights(12, 9, frequencies).double().numpy()
    mirrored = np.roll(weights[::-1, ::-1], (1, 1), (0, 1))
    spectrum = np.fft.fft2(error.numpy()) * (weights + mirrored) / 2
    wanted = (np.abs(spectrum) ** 2).sum((1, 2, 3)) / (12 * 9)
    assert np.allclose(filtered(error, frequencies).square().sum((1, 2, 3)), wanted, rtol=1e-6)


def test_the_low_pass_keeps_the_published_share():
    kept = {side: int((_weights(side, side, "low") == 1).sum()) for side in (8, 32, 64)}
    assert kept == {8: 4, 32: 100, 64: 400}  # at 32 pixels 9.8 %


def test_the_band_drops_flat_fields_and_checkerboards_and_keeps_what_lies_between():
    row = torch.arange(32.0)
    flat, board = torch.ones(1, 1, 32, 32), ((-1) ** (row[:, None] + row))[None, None]
    wave = torch.sin(2 * np.pi * 8 * row / 32).expand(1, 1, 32, 32)  # half the Nyquist frequency
    found = [filtered(one, "band").abs().max() for one in (flat, board, wave - filtered(wave, "band"))]
    assert max(map(float, found)) < 1e-5 and float(wave.abs().max()) > 0.9


def test_all_frequencies_are_the_error_itself():
    error = torch.ones(1, 1, 4, 4)
    assert filtered(error, "all") is error


def test_what_inherits_an_attack_inherits_its_filter():
    assert SecMINN(frequencies="low").frequencies == "low"
    with pytest.raises(ValidationError, match="'all', 'low' or 'band'"):
        Loss(frequencies="high")

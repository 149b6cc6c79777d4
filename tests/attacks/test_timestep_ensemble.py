"""Several timesteps in one score: the four statistics as their own attacks have them, and no timestep that decides."""

from functools import partial

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from leakbench.api import Calibration, ImageSet, Release
from leakbench.attacks.membership._regression import Regression
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.pia import PIA
from leakbench.attacks.membership.secmi import SecMI
from leakbench.attacks.membership.sima import SimA
from leakbench.attacks.membership.timestep_ensemble import TimestepEnsemble
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, CallCount
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng
from leakbench.statistics import auc

SHAPE, STREAMS = (1, 8, 8), Rng("timesteps", 0)
MIXING = STREAMS.of("mixing").normal(torch.arange(64), (64,)).double() / 8
ALL = torch.tanh(STREAMS.of("images").normal(torch.arange(160), SHAPE)).double()
CALIBRATION, REPORTED = torch.arange(80), torch.arange(80, 160)
MEMBER = np.arange(80) % 2 == 0


class Network(torch.nn.Module):
    """Answers the image itself but for a ripple, and a member, shown clean at one timestep, by a tenth less."""

    def __init__(self, tells: int) -> None:
        super().__init__()
        self.tells = tells

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        known = (x.flatten(1)[:, None] == ALL[::2].flatten(1)).all(dim=2).any(dim=1) & (t == self.tells)
        ripple = torch.sin(x.flatten(1) @ MIXING + t[:, None] / 300).view_as(x)
        return ((x + ripple / 5) * torch.where(known, 0.9, 1.0)[:, None, None, None]).to(x.dtype)


def release(tells: int) -> AttackTarget:
    return AttackTarget.of(Release(Network(tells), Schedule(), STREAMS, SHAPE, torch.device("cpu"), batch=40), STREAMS)


def score(attack, rows: torch.Tensor, target: AttackTarget, calls: CallCount | None = None):
    found, queries = target.score({"": AttackRequest(attack, False)}, Images(ALL[rows], rows, None), calls)
    return found[""], queries[""]


def fit(attack: TimestepEnsemble, target: AttackTarget) -> TimestepEnsemble:
    def ask(question):
        return target.ask(question, attack, False, Images(ALL[CALIBRATION], CALIBRATION, None))

    images = ALL[CALIBRATION]
    return attack.fit(Calibration(images, None, ask, MEMBER, ImageSet(images, None, ask), STREAMS))


def found(scores: np.ndarray) -> float:
    return auc(scores[MEMBER], scores[~MEMBER]).value


def test_it_is_a_logistic_regression_on_the_scores_of_the_four_attacks_at_each_timestep():
    target, timesteps = release(50), (20, 50, 110)
    four = [attack(t=t) for t in timesteps for attack in (partial(Loss, draws=2), PIA, SimA, SecMI)]
    known, asked = (np.log([-score(attack, rows, target)[0] for attack in four]).T for rows in (CALIBRATION, REPORTED))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(known, MEMBER)
    attack, calls = fit(TimestepEnsemble(t=timesteps, draws=2), target), CallCount()
    scores, queries = score(attack, REPORTED, target, calls)
    np.testing.assert_allclose(scores, model.decision_function(asked), rtol=1e-6, atol=1e-6)
    assert (queries, calls.together) == (2 * 3 + 4 + 3 + 11 + 3, 2 * 3 + 4 + 3 + 12 - 1)  # both begin at t = 0


def test_calls_are_those_of_the_docstring():
    target, calls = release(50), CallCount()
    assert score(fit(TimestepEnsemble(), target), REPORTED, target, calls)[1] == 66
    assert calls.together == 66 - 5


@pytest.mark.parametrize("tells", [20, 200])
def test_no_single_timestep_decides(tells):
    """Members differ at one timestep, which nobody told the attacker: what is fixed at another t sees nothing."""
    target = release(tells)
    fixed = [found(score(attack, REPORTED, target)[0]) for attack in (Loss(draws=4), PIA(), SecMI(), SimA())]
    assert max(abs(one - 0.5) for one in fixed) < 0.13
    assert found(score(fit(TimestepEnsemble(), target), REPORTED, target)[0]) > 0.9


def test_a_timestep_off_the_way_of_secmi_is_refused():
    for t in [(), (100, 25), (0,), (1000,)]:
        with pytest.raises(ValidationError, match="timesteps from 10 to 990, multiples of 10"):
            TimestepEnsemble(t=t)
    assert TimestepEnsemble(t=(990,)).needs.latest == 990 and TimestepEnsemble().out_of_fold


def null_size(releases: int) -> float:
    """Share of releases that leak nothing of which the regression says at 5 % that they do: 20 features, correlated by
    0.5, of 60 + 60 calibration images and 120 + 300 reported ones."""
    rng, said = np.random.default_rng(0), 0
    for _ in range(releases):
        rows = rng.normal(size=(540, 20)) + rng.normal(size=(540, 1))
        rule = Regression.fit(torch.from_numpy(rows[:120]), np.arange(120) < 60)
        odds = rule.log_odds(torch.from_numpy(rows[120:])).numpy()
        area = auc(odds[:120], odds[120:])
        said += not area.low <= 0.5 <= area.high
    return said / releases


def test_a_release_that_leaks_nothing_is_not_said_to_leak():
    """0.056 of 2,000 (the slow test); the images that are reported have no say in the regression."""
    assert null_size(100) <= 0.12


@pytest.mark.slow
def test_size_of_the_regression():
    assert abs(null_size(2000) - 0.05) < 0.015

"""Membership on the forget set: a planted leak is found, the null shows none, and the scores are a loop's."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from leakbench.api import AuditSetting, Release
from leakbench.attacks.unlearning.forget_membership import ForgetMembership
from leakbench.metrics.evaluate.unlearning import evaluate_unlearning


def measured(evidence):
    return {one.name: one for one in evaluate_unlearning(evidence).metrics}


def test_a_model_that_forgot_nothing_leaks_and_the_retrained_one_does_not(world, ground):
    attack = ForgetMembership()
    found = measured(attack.run(ground(attack, world.before)))
    assert found["forget_auc"].value > 0.95
    null, excess = found["forget_auc_retrained"], found["forget_auc_excess"]
    assert null.ci_low < 0.5 < null.ci_high
    assert excess.value == pytest.approx(found["forget_auc"].value - null.value) and excess.ci_low > 0.1


def test_the_retrained_model_has_no_excess_over_itself(world, ground):
    attack = ForgetMembership()
    evidence = attack.run(ground(attack, world.retrained))
    ours, null = evidence.scores["forget"].model, evidence.scores["forget"].retrained
    assert np.array_equal(ours.forget, null.forget) and np.array_equal(ours.unseen, null.unseen)
    assert measured(evidence)["forget_auc_excess"].value == 0


def test_scores_are_those_of_a_loop(world, ground, losses):
    attack = ForgetMembership(t=(30, 400), draws=3)
    found = attack.run(ground(attack, world.before)).scores["forget"]
    for scores, release in ((found.model, world.before), (found.retrained, world.retrained)):
        for name in ("forget", "unseen"):
            wanted = -losses(release, getattr(world, name), (30, 400), 3)
            np.testing.assert_allclose(getattr(scores, name), wanted, rtol=1e-5)


def test_batch_and_order_do_not_change_them(world, ground):
    attack = ForgetMembership(draws=2)
    order = torch.arange(len(world.forget.ids) - 1, -1, -1)
    first = attack.run(ground(attack, world.before)).scores["forget"].model
    other = attack.run(ground(attack, world.before, batch=7, forget=world.forget.take(order))).scores["forget"].model
    np.testing.assert_allclose(other.forget[::-1], first.forget, rtol=1e-4)
    np.testing.assert_allclose(other.unseen, first.unseen, rtol=1e-4)


@dataclass(frozen=True)
class Silent(Release):
    """A service that answers nothing but zeros."""

    def eps(self, x, t, label=None):
        return torch.zeros_like(x)


def test_it_hears_the_service_and_no_more(world, ground):
    attack = ForgetMembership(draws=1)
    silent = Silent.wrap(world.before)
    answered, raw = (attack.run(ground(attack, silent, raw=raw)).scores["forget"].model for raw in (False, True))
    plain = attack.run(ground(attack, world.before)).scores["forget"].model
    assert np.array_equal(raw.forget, plain.forget) and not np.allclose(answered.forget, plain.forget)
    with pytest.raises(ValueError, match="WEIGHTS access only"):
        _ = ground(attack, world.before).model.release
    seen = ground(attack, world.before).model
    with pytest.raises(AttributeError):
        seen.ask(lambda view, images, labels: view.network, world.forget)


def test_an_unconditional_network_is_asked_without_labels(world, ground):
    attack = ForgetMembership(draws=1)
    release = replace(world.before, network=Unlabelled(world.before.network))
    groups = {name: replace(getattr(world, name), labels=None) for name in ("forget", "unseen", "retained")}
    found = attack.run(ground(attack, release, **groups, retrained=ground(attack, release).model, label=None))
    wanted = attack.run(ground(attack, world.before))
    np.testing.assert_allclose(found.scores["forget"].model.forget, wanted.scores["forget"].model.forget, rtol=1e-6)


class Unlabelled(torch.nn.Module):
    """The network under the label to forget, whatever it is asked for."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, t, label=None):
        assert label is None
        return self.network(x, t, torch.ones_like(t))


@pytest.mark.parametrize("wrong", [{"t": ()}, {"t": (1000,)}, {"t": (-1,)}, {"draws": 0}, {"steps": 3}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        ForgetMembership(**wrong)


def test_it_takes_something_to_forget():
    attack = ForgetMembership()
    said = attack.skip(AuditSetting((), "none", "nothing", 1000, 10)).reason
    assert "[forget]" in said and "\n" not in said
    assert all(attack.skip(AuditSetting((), "none", what, 1000, 10)) is None for what in ("label", "subset"))
    assert [need.kind for need in attack.auxiliary_models()] == ["retrained"]

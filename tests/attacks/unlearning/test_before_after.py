"""The change between two releases: it is the difference of the loop's losses, and tells what was deleted."""

import numpy as np
import pytest
import torch

from leakbench.api import AuditSetting
from leakbench.attacks.unlearning.before_after import BeforeAfter
from leakbench.defenses.baseline import Baseline
from leakbench.defenses.cpsample import CPSample
from leakbench.defenses.erasediff import EraseDiff
from leakbench.metrics.evaluate.unlearning import evaluate_unlearning


def test_it_is_the_difference_of_two_losses(world, ground, losses):
    attack = BeforeAfter(t=(30, 400), draws=2)
    found = attack.run(ground(attack, world.retrained, before=world.before)).scores["forget"].model
    for name in ("forget", "unseen", "retained"):
        after, before = (losses(one, getattr(world, name), (30, 400), 2) for one in (world.retrained, world.before))
        np.testing.assert_allclose(getattr(found, name), after - before, rtol=1e-4, atol=1e-4)


def test_even_perfect_forgetting_shows_who_was_deleted_to_who_kept_the_old_release(world, ground):
    attack = BeforeAfter()
    found = evaluate_unlearning(attack.run(ground(attack, world.retrained, before=world.before)))
    value = {one.name: one.value for one in found.metrics}
    assert value["forget_auc"] > 0.8 and value["forget_vs_retained_auc"] > 0.8
    assert value["forget_auc"] == value["forget_auc_retrained"] and value["forget_auc_excess"] == 0


def test_nothing_changed_is_nothing_told(world, ground):
    attack = BeforeAfter(draws=1)
    evidence = attack.run(ground(attack, world.before, before=world.before))
    assert not np.concatenate([evidence.scores["forget"].model.forget, evidence.scores["forget"].model.unseen]).any()
    found = evaluate_unlearning(evidence)
    assert "constant-scores" in found.flags and {m.name: m.value for m in found.metrics}["forget_auc"] == 0.5


def test_batch_and_order_do_not_change_it(world, ground):
    attack = BeforeAfter(draws=2)
    order = torch.randperm(len(world.retained.ids), generator=torch.Generator().manual_seed(0))
    first = attack.run(ground(attack, world.retrained, before=world.before)).scores["forget"].model
    more = {"batch": 7, "retained": world.retained.take(order)}
    other = attack.run(ground(attack, world.retrained, before=world.before, **more)).scores["forget"].model
    np.testing.assert_allclose(other.retained, first.retained[order.numpy()], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(other.forget, first.forget, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("below", "runs"),
    [
        ((Baseline(),), False),
        ((Baseline(), CPSample()), False),
        ((Baseline(), EraseDiff()), True),
        ((Baseline(), EraseDiff(), CPSample()), True),
    ],
)
def test_it_applies_where_a_step_that_forgets_has_a_base(below, runs):
    assert (BeforeAfter().skip(AuditSetting(below, "label", "label", 1000, 10)) is None) is runs

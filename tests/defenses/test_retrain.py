"""Retraining: the base's own recipe on what stays, bit for bit; its claims are the recipe's; where it cannot stand."""

from dataclasses import replace

import pytest
import torch

from leakbench.api import Artefacts, AuditSetting, Guarantee, Release, Task
from leakbench.defenses.baseline import Baseline
from leakbench.defenses.cpsample import CPSample
from leakbench.defenses.erasediff import EraseDiff
from leakbench.defenses.pretrain import Pretrain
from leakbench.defenses.retrain import Retrain
from leakbench.defenses.untrained import Untrained
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng

STREAMS = Rng("retrain", 0)
COUNT, LABELS = 30, 3


class Private(Baseline):
    """A baseline that claims an epsilon, as differentially private training does, and says what it was given."""

    name = "private"

    def fit(self, task: Task) -> Artefacts:
        """As the baseline, noting the task."""
        made = super().fit(task)
        facts = {"images": len(task.images), "labels": sorted(set(task.labels.tolist()))}
        return replace(made, info=made.info | facts | {"base": task.base is not None})

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Claims what depends on how many images it was trained on."""
        stated = Guarantee(epsilon=3.0, facts={"images": artefacts.info["images"]})
        return replace(super().release(artefacts, task), guarantee=stated)


def sized(recipe: type[Baseline]) -> Baseline:
    return recipe(steps=12, batch=8, lr=1e-3)


def task_over(recipe: Baseline, condition: str = "label") -> Task:
    """30 images of 3 labels, label 1 to be forgotten, over the recipe trained on all of them."""
    spec = NetworkSpec(kind="mlp", shape=(1, 4, 4), width=16, blocks=1, conditions=LABELS * (condition == "label"))
    images = STREAMS.of("images").uniform(torch.arange(COUNT), spec.shape).float() * 2 - 1
    labels, groups = torch.arange(COUNT) % LABELS, torch.arange(COUNT)
    schedule, cpu = Schedule(T=40, steps=5), torch.device("cpu")
    task = Task(images, labels, None, condition, groups, images[:4], spec, schedule, STREAMS, cpu)
    base = recipe.release(recipe.fit(task), task)
    return replace(task, base=base, chain=(recipe,), forget=labels == 1, forget_label=1)


def same_weights(a: Release, b: Release) -> bool:
    ours, theirs = a.network.state_dict(), b.network.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("condition", ["none", "label"])
def test_it_is_the_baseline_trained_on_the_rest(condition):
    recipe = sized(Baseline)
    task = task_over(recipe, condition)
    made = Retrain().fit(task)
    kept = replace(task.subset(~task.forget), base=None, chain=(), forget=None, forget_label=None)
    alone = recipe.fit(kept)
    retrained = Retrain().release(made, task)
    assert same_weights(retrained, recipe.release(alone, kept))
    assert not same_weights(retrained, task.base)
    assert made.info["network_evaluations"] == alone.info["network_evaluations"] == recipe.cost().training
    assert made.info["images_to_forget"] == 10


def test_what_is_forgotten_has_no_influence_at_all():
    """Other images in the place of those to forget: the same bits."""
    task = task_over(sized(Baseline))
    poisoned = replace(task, images=torch.where(task.forget.view(-1, 1, 1, 1), torch.nan, task.images))
    ours, theirs = (Retrain().release(Retrain().fit(one), one) for one in (task, poisoned))
    assert same_weights(ours, theirs)


def test_it_claims_what_its_recipe_claims_of_the_rest():
    task = task_over(sized(Private))
    made = Retrain().fit(task)
    assert made.info["images"] == 20 and made.info["labels"] == [0, 2] and not made.info["base"]
    release = Retrain().release(made, task)
    assert release.guarantee.to_json() == {"epsilon": 3.0, "images": 20}
    assert task.base.guarantee.facts["images"] == 30
    assert release.base is None and release.eps_is_raw


def test_unlearning_over_the_retrained_model_voids_what_it_claimed():
    task = task_over(sized(Private))
    retrained = Retrain().release(Retrain().fit(task), task)
    above, defense = replace(task, base=retrained, chain=(*task.chain, Retrain())), EraseDiff(steps=2, batch=4)
    release = defense.release(defense.fit(above), above)
    assert release.guarantee.to_json() == {"void": "erasediff trains on members without differential privacy"}


def test_it_needs_a_base_that_trains_its_own_network():
    def skip(*chain):
        return Retrain().skip(AuditSetting(chain, "label", "label", 1000, COUNT))

    assert skip(Baseline()) is None and skip(sized(Private)) is None
    for below in (
        (),
        (Untrained(),),
        (Pretrain(),),
        (Baseline(), EraseDiff()),
        (Baseline(), CPSample()),
        (EraseDiff(),),
        (CPSample(),),
    ):
        said = skip(*below).reason
        assert "such as baseline" in said and "\n" not in said

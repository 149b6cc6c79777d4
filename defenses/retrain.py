"""Retraining without what is to be forgotten: the gold standard of unlearning.

Every forgetting metric is read against this model. It is the base's own recipe, step budget and random streams on the
images that stay; what is drawn by an image's place in the list falls on other images. It claims what its recipe claims.
"""

from dataclasses import replace

from leakbench.api import Artefacts, AuditSetting, Defense, Release, Skip, Task


class Retrain(Defense):
    """The base, trained again from nothing without the forget set."""

    name = "retrain"
    summary = "trains its base again without what is to be forgotten: the gold standard of unlearning"
    needs_base = True
    forgets = True

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse a base that is no recipe which trains from nothing, on images of which some can be left out."""
        if len(setting.chain) == 1:
            (recipe,) = setting.chain
            if recipe.changes in ("training", "data") and recipe.role != "control":
                return None
        return Skip(
            "retrain repeats a training from nothing: give it a base that trains its own network, such as baseline"
        )

    def fit(self, task: Task) -> Artefacts:
        """The base's fit on the images that stay."""
        assert task.forget is not None
        made = recipe_of(task).fit(replace(task.subset(~task.forget), base=None, chain=(), forget=None))
        return replace(made, info=made.info | {"images_to_forget": int(task.forget.sum())})

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Hand it out as its recipe does."""
        return recipe_of(task).release(artefacts, replace(task, base=None, chain=()))


def recipe_of(task: Task) -> Defense:
    """The only step under retrain: the training that it repeats."""
    (recipe,) = task.chain
    assert isinstance(recipe, Defense)
    return recipe

"""Fine-tuning on what stays: the control that hardly forgets (reference values .97 -> .96 in EraseDiff's table).

min_theta L_r(theta)
"""

from torch import nn

from leakbench.models.training.loop import Rule

from ._unlearning import Edit, Pair, Unlearning


class Finetune(Unlearning):
    """Trains on the images to keep and hopes."""

    name = "finetune"
    summary = "trains on without what is to be forgotten: hardly forgets (the no-forgetting control)"

    def step_cost(self) -> int:
        """One gradient."""
        return 3

    def rule(self, edit: Edit) -> Rule:
        """g_r."""

        def step(module: nn.Module, pair: Pair) -> None:
            edit.leave(edit.gradient(edit.errors(module, pair.keep).mean()))

        return step

"""NegGrad: gradient ascent on what is to be forgotten, and nothing else.

min_theta -L_f(theta)

L_f is the denoising loss of the images to forget, a mean over pixels. The baseline of EraseDiff's table (2401.05779),
whose code ascends on the images to keep: it takes the wrong one of its loaders. Here it is the forget set, and a test
holds that. No constants are published. The ascent is unbounded: `lr` and `steps` decide how much of the model is left.
"""

from torch import nn

from leakbench.models.training.loop import Rule

from ._unlearning import Edit, Pair, Unlearning


class NegGrad(Unlearning):
    """Ascends on the images to forget."""

    name = "neg_grad"
    summary = "gradient ascent on what is to be forgotten (NegGrad)"

    def step_cost(self) -> int:
        """One gradient."""
        return 3

    def rule(self, edit: Edit) -> Rule:
        """-g_f."""

        def step(module: nn.Module, pair: Pair) -> None:
            edit.leave(edit.gradient(-edit.errors(module, pair.forget).mean()))

        return step

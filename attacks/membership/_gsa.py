"""Parts that the two gradient attacks share: see gsa1.py."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, AuxiliaryModel, Calibration, MembershipAttack, Needs, release_param, shadow_models
from leakbench.api.views import WeightsView
from leakbench.runtime.errors import UsageError

from ._gradients import gradient_norms


class GSA(MembershipAttack):
    """A classifier of gradient norms, trained on shadow models."""

    access = Access.WEIGHTS
    learns_from = "shadows"
    shares = False
    at_once: ClassVar[bool]  # whether the losses of all timesteps are averaged before the one backward pass

    timesteps: int = release_param(10, ge=1, le=1000)
    shadows: int = release_param(6, ge=1)
    _classifier: Any = PrivateAttr(default=None)

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        """The shadow models."""
        return shadow_models(self.shadows)

    @property
    def needs(self) -> Needs:
        """As many timesteps as it averages over."""
        return Needs(averaged=self.timesteps)

    def features(self, view: WeightsView) -> Tensor:
        """Gradient norms (N, P) of the view's images in its network."""
        T = view.schedule.T
        walk = [(i + 1) * T // self.timesteps - 1 for i in range(self.timesteps)]
        x = torch.stack([view.noised(t, draw) for draw, t in enumerate(walk)], dim=1)
        noise = torch.stack([view.noise(draw) for draw in range(len(walk))], dim=1)
        t = torch.tensor(walk, device=x.device)
        if self.at_once:
            return gradient_norms(view.network, x, t, noise, view.labels)
        # Every timestep as an image of its own: many gradients in one pass.
        labels = None if view.labels is None else view.labels.repeat_interleave(len(walk))
        alone = (x.flatten(0, 1)[:, None], t.repeat(len(x))[:, None], noise.flatten(0, 1)[:, None])
        return gradient_norms(view.network, *alone, labels).unflatten(0, (len(x), len(walk))).mean(dim=1)

    def fit(self, calibration: Calibration) -> GSA:
        """Train on calibration images in every shadow model: a row an image a model, labelled by the model's mask."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        rows = calibration.ask(self._in_shadows).flatten(0, 1).double().cpu().numpy()
        if len(set(rows[:, 0])) < 2:
            raise UsageError(f"{self.name}: its {self.shadows} shadow models hold all calibration images, or none")
        trees = HistGradientBoostingClassifier(max_iter=200, max_leaf_nodes=8, early_stopping=False, random_state=0)
        fitted = copy.copy(self)
        fitted._classifier = trees.fit(rows[:, 1:], rows[:, 0] > 0)
        return fitted

    def _in_shadows(self, view: WeightsView, images: Tensor, labels: Tensor | None) -> Tensor:
        """The mask and the features of each shadow model, (N, K, 1 + P)."""
        models = [view.others[need.name] for need in self.auxiliary_models()]
        return torch.stack([torch.cat([m.is_member[:, None], self.features(m.view)], dim=1) for m in models], dim=1)

    def score(self, view: WeightsView, images: Tensor, labels: Tensor | None) -> Tensor:
        """The classifier's log-odds of membership, float64 (N,)."""
        return torch.as_tensor(self._classifier.decision_function(self.features(view).double().cpu().numpy()))

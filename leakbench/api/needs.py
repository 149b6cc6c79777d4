"""Needs of an attack: what the place where it is run must have, in numbers, so that a plan can check without code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leakbench.api.skip import Skip

if TYPE_CHECKING:
    from leakbench.api.defense import AuditSetting

_TAKES = {"vary": "image to vary", "inpaint": "mask of an image to complete"}


@dataclass(frozen=True)
class Needs:
    """Least that an attack needs; 0 or nothing where it does not ask.

    parts: names of parts that the release ships. labels: calibration images that it learns from. latest: the latest
    timestep at which it asks. averaged: timesteps that it averages over. walked: steps that it takes through the
    schedule. neighbours: training images that it compares with. pixels: height x width of an image. condition: a model
    that is told captions or labels. requests: what it asks a service beside samples: "vary", "inpaint".
    """

    parts: tuple[str, ...] = ()
    labels: int = 0
    latest: int = 0
    averaged: int = 0
    walked: int = 0
    neighbours: int = 0
    pixels: int = 0
    condition: bool = False
    requests: tuple[str, ...] = ()

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Reason why the attack is not run in a setting that lacks something; None where it has all."""
        T, calibration, images = setting.timesteps, setting.calibration, setting.images
        if self.parts and (found := setting.without(*self.parts)):
            return found
        if self.condition and setting.condition == "none":
            return Skip("the model is told neither captions nor labels, which it reads", "not-applicable")
        taken = [defense.requests() for defense in setting.chain]
        if lacking := [one for one in self.requests if any(one not in known for known in taken)]:
            return Skip(f"the service takes no {_TAKES[lacking[0]]}", "not-applicable")
        if self.pixels > setting.pixels:
            few = f"images of {setting.pixels} pixels in all have no tiles: it takes {self.pixels}"
            return Skip(few, "not-applicable")
        if self.labels > calibration:
            return Skip(f"labels = {self.labels}: calibration holds {calibration} images, half of them members")
        if self.latest >= T:
            return Skip(f"it asks at t = {self.latest}, and the noise schedule ends at t = {T - 1}")
        if self.averaged > T:
            return Skip(f"it averages over {self.averaged} timesteps, and the noise schedule has {T}")
        if self.walked >= T:
            return Skip(f"it takes {self.walked} steps, and the noise schedule has {T} timesteps: at most one less")
        if self.neighbours > images:
            few = f"neighbours = {self.neighbours}, and there are {images} training images: ask for fewer"
            return Skip(few)
        return None

"""Calls of the built-in attacks by their table (leakbench.runner.estimate.time_estimate.Calls).

Calls that attacks share are counted for each of them: in the frozen sets that is 3 to 15 % too many.
"""

from __future__ import annotations

import math
from dataclasses import replace

from leakbench.api import Access, Attack, MembershipAttack
from leakbench.models.network_spec import NetworkSpec
from leakbench.models.schedule import Schedule
from leakbench.runner.estimate.attack_calls import AttackCalls
from leakbench.suite.attack_table import row_of

_PIXELS = 16 * 16  # of the images that fits were timed on
_STEPS = Schedule().steps  # of the walk that calls were counted on


class TableCalls:
    """Counts by looking attacks up. They are stand-ins of leakbench.suite.attack_table."""

    def membership(
        self, attacks: list[MembershipAttack], spec: NetworkSpec, schedule: Schedule
    ) -> tuple[float, list[AttackCalls]]:
        """Calls of an image that all of them score, and the calls of each."""
        alone = [_calls(attack, math.prod(spec.shape[1:]) / _PIXELS, schedule.steps / _STEPS) for attack in attacks]
        return sum(one.scoring for one in alone), alone

    def own(self, attack: Attack, shape: tuple[int, int, int], schedule: Schedule) -> float:
        """Calls of a prompt; an audit asks for no attribute."""
        return _calls(attack, 1.0, 1.0).scoring

    def recovery(self, attack: Attack, shape: tuple[int, int, int], schedule: Schedule) -> float:
        """Calls of an image that is to be got back."""
        return _calls(attack, 1.0, schedule.steps / _STEPS).scoring


def _calls(attack: Attack, larger: float, longer: float) -> AttackCalls:
    """Calls in a walk so many times as `long`, and seconds for images of so many times the pixels."""
    found = AttackCalls(**row_of(attack).calls)
    walks = longer if attack.access is Access.API or row_of(attack).recovers else 1.0
    return replace(
        found,
        scoring=found.scoring * walks,
        calibration=found.calibration * walks,
        public=found.public * walks,
        seconds=found.seconds * larger,
    )

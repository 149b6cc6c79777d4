"""An attack that asks the denoiser is written twice, of the service and of the raw network; any other once."""

from __future__ import annotations

import pytest

from leakbench.api import Access, MembershipAttack
from leakbench.measurement.access_levels import rows_written


class Error(MembershipAttack):
    """Asks the denoiser."""

    name = "error"
    access = Access.DENOISER


def test_a_denoiser_attack_is_written_for_the_service_and_for_the_raw_network():
    assert rows_written(Error(), answers_raw=False) == {Access.DENOISER: False, Access.WEIGHTS: True}
    assert rows_written(Error(), answers_raw=True) == {Access.DENOISER: True, Access.WEIGHTS: True}


@pytest.mark.parametrize("access", [Access.NONE, Access.SAMPLES, Access.API, Access.WEIGHTS])
def test_any_other_attack_is_written_once_at_its_own_level(access):
    kind = type("Other", (Error,), {"access": access})
    assert rows_written(kind(), answers_raw=False) == {access: access is Access.WEIGHTS}

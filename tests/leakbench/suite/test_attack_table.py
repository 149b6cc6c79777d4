"""The table of attacks says what their classes say; stand-ins refuse what the attacks refuse, in the same words."""

from __future__ import annotations

import pytest

from leakbench.api import AuditSetting
from leakbench.runner.estimate.attack_rows import count_calls, make_rows
from leakbench.runtime import registry
from leakbench.suite.attack_table import NotInTable, read_rows, row_of, stand_ins

COMMAND = "python -m leakbench.runner.estimate.attack_rows writes attack_table.json anew"
ROWS = {(row.name, str(row.parameters)): row for row in read_rows()}
MADE = list(make_rows())
SLOW = ("quantile", "secmi_nn", "rediffuse_nn", "inpaint_extraction", "inpainting")  # to be counted in a test


def test_every_attack_has_its_row_and_no_other():
    assert [row._replace(calls={}) for row in read_rows()] == [row for _, row in MADE], COMMAND


@pytest.mark.parametrize("attack", [one for one, _ in MADE if one.name not in SLOW], ids=lambda one: one.name)
def test_calls_are_those_of_a_dry_run(attack):
    row = next(row for one, row in MADE if one is attack)
    known = ROWS[row.name, str(row.parameters)].calls
    assert {**count_calls(attack), "seconds": known["seconds"]} == known, COMMAND


def test_a_stand_in_refuses_what_its_attack_refuses():
    kinds = stand_ins()
    settings = [
        AuditSetting((), "none", "nothing", timesteps, images, pixels, calibration, parts)
        for timesteps, images, pixels, calibration, parts in [
            (1000, 400, 4096, 80, frozenset()),
            (1000, 10, 64, 4, None),
            (50, 10, 64, 4, frozenset({"classifier"})),
            (1, 0, 0, 0, frozenset()),
        ]
    ]
    for attack, row in MADE:
        if row.family in ("membership", "replication"):
            stand_in = kinds[row.name](**row.parameters)
            assert [stand_in.skip(one) for one in settings] == [attack.skip(one) for one in settings], row.name
            assert (stand_in.family, stand_in.access, stand_in.adaptive) == (row.family, attack.access, attack.adaptive)
            assert len(stand_in.auxiliary_models()) == len(attack.auxiliary_models())


def test_parameters_that_nobody_counted_are_not_guessed():
    with pytest.raises(NotInTable, match="loss with t = 3"):
        row_of(stand_ins()["loss"](t=3))


def test_stand_ins_stand_in_only_for_a_while():
    kinds = stand_ins()
    with registry.standing_in("attacks", kinds):
        assert registry.find("attacks", "loss") is kinds["loss"]
    assert registry.find("attacks", "loss") is not kinds["loss"]

"""Settings and calls: what Python writes reads back as the same values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import leakbench as lb
from leakbench.interface.call import format_call
from leakbench.interface.settings import to_overrides
from leakbench.suite.overrides import apply_override

VALUES = {
    "a number": 3,
    "a small number": 1e-05,
    "truth": True,
    "text": 'with "quotes", a \\ and é',
    "text that looks like a number": "3",
    "a list": [0.25, 0.5],
    "a table": {"id": "x", "alpha": [1, 2]},
}


@pytest.mark.parametrize("case", VALUES)
def test_a_setting_arrives_as_it_was_given(case):
    table = {}
    for override in to_overrides({"some.key": VALUES[case]}):
        apply_override(table, override)
    assert table == {"some": {"key": VALUES[case]}}
    assert type(table["some"]["key"]) is type(VALUES[case])


def test_numbers_of_numpy_tuples_and_paths_are_plain_values():
    given = {"a": np.float64(0.5), "b": np.arange(2), "c": (1, 2), "d": Path("x/y"), "e": np.bool_(True)}
    assert to_overrides(given) == ("a=0.5", "b=[0, 1]", "c=[1, 2]", 'd="x/y"', "e=true")


def test_texts_are_taken_as_the_command_line_takes_them():
    assert to_overrides(["seeds=[1]", "a.b=c"]) == ("seeds=[1]", "a.b=c")
    assert to_overrides("seeds=[1]") == ("seeds=[1]",)
    assert to_overrides(()) == ()


def test_what_a_suite_cannot_hold_is_one_line():
    with pytest.raises(lb.UsageError, match=r"settings: split\.seed = None: a suite holds numbers, text"):
        to_overrides({"split.seed": None})


def test_a_call_without_its_defaults_can_be_typed_in_again():
    def run(suite, *, out=None, settings=(), workers=None):
        return suite, out, settings, workers

    call = format_call(run, {"suite": Path("a b.toml"), "out": "x", "settings": {"s": np.float64(1)}, "workers": None})
    assert call == "leakbench.run('a b.toml', out='x', settings={'s': 1.0})"
    assert eval(call.removeprefix("leakbench.")) == ("a b.toml", "x", {"s": 1.0}, None)

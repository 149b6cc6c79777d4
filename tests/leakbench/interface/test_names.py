"""The public names: found when they are asked for, with the command line's options and defaults."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import leakbench as lb
from leakbench import cli


@pytest.mark.parametrize(
    ("words", "unloaded"),
    [("leakbench.__all__", {"torch", "numpy", "pandas"}), ("leakbench.load, leakbench.score", {"torch", "pandas"})],
)
def test_a_name_imports_no_more_than_it_needs(words, unloaded):
    code = f"import sys, leakbench; {words}; print(sorted({unloaded!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_each_name_is_what_it_says_and_no_module():
    for name in ("run", "audit", "load", "score"):
        assert inspect.isfunction(getattr(lb, name)) and getattr(lb, name).__name__ == name
    assert inspect.isclass(lb.Results) and issubclass(lb.RunFailed, Exception)


PRINTED = {"plan", "wide"}  # options of what a command prints
SERIES = {"run": set(), "audit": {"checkpoints"}}  # many audits, and so many Results: in Python a loop
IN_PYTHON = {"defense": "defenses", "plugin": "plugins", "no_images": "images"}


@pytest.mark.parametrize("name", ["run", "audit"])
def test_options_and_their_defaults_are_those_of_the_command(name):
    command = inspect.signature(getattr(getattr(cli.command_line, name), name)).parameters
    ours = inspect.signature(getattr(lb, name)).parameters
    assert SERIES[name] <= set(command)
    assert set(ours) == {IN_PYTHON.get(option, option) for option in command} - PRINTED - SERIES[name]
    for option, parameter in command.items():
        default = parameter.default
        if option in PRINTED | SERIES[name] or default in (inspect.Parameter.empty, ...) or option in ("model",):
            continue
        if option == "no_images":
            default = not default
        mine = ours[IN_PYTHON.get(option, option)].default
        assert mine == (() if option in ("settings", "defense", "plugin") and default is None else default), option

"""Checks of what a plugin declares: its name, its parameters, its stage marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from leakbench.api import Access, Attack, Plugin, PretrainedModel
from leakbench.testing.check import Check, CheckFailed, expect
from leakbench.testing.source_lines import line_of_parameter


def parameter_checks(plugin: type[Plugin]) -> Iterator[Check]:
    """The same for attacks and defenses, but for what only one of them declares."""
    yield Check("it has a name and a summary", lambda: _named(plugin), plugin)
    yield Check("its defaults are valid, and it is frozen", lambda: _frozen(plugin), plugin)
    yield Check("an unknown parameter is refused", lambda: _strict(plugin), plugin)
    if issubclass(plugin, Attack):
        yield Check("it declares family and access", lambda: _declared(plugin), plugin)
    else:
        yield Check("every parameter is marked fit_param or release_param", lambda: _marked(plugin), plugin)


def _named(plugin: type[Plugin]) -> None:
    for key in ("name", "summary"):
        value = getattr(plugin, key, "")
        expect(isinstance(value, str) and bool(value), f"a {key}, a class variable", repr(value), plugin)


def _frozen(plugin: type[Plugin]) -> None:
    if issubclass(plugin, PretrainedModel):  # its parameters name a model, so it has no defaults
        expect(plugin.model_config.get("frozen") is True, "frozen parameters", "others", plugin)
        return
    made = plugin()
    expect(_refuses(lambda: setattr(made, "anything", 1)), "an error where an attribute is set", "none", plugin)


def _strict(plugin: type[Plugin]) -> None:
    refused = _refuses(lambda: plugin(no_such_parameter=1))  # type: ignore[call-arg]
    expect(refused, "an error for no_such_parameter = 1", "none", plugin)


def _declared(plugin: type[Attack]) -> None:
    access = getattr(plugin, "access", None)
    expect(bool(getattr(plugin, "family", "")), "a `family`", "none", plugin)
    expect(isinstance(access, Access), "an `access` such as Access.DENOISER", repr(access), plugin)


def _marked(plugin: type[Plugin]) -> None:
    bare = set(plugin.model_fields) - plugin.parameters_of_stage("fit") - plugin.parameters_of_stage("release")
    for name in sorted(bare):
        where = line_of_parameter(plugin, name)
        raise CheckFailed(f"{name} = fit_param(...) or release_param(...)", "neither", plugin, where)


def _refuses(action: Callable[[], Any]) -> bool:
    try:
        action()
    except ValidationError:
        return True
    return False

"""The conformance suite as a parametrised pytest function, for the tests of a plugin package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from leakbench.api import Plugin
from leakbench.testing.check import Check
from leakbench.testing.conformance import list_checks, run_check


def plugin_tests(*plugins: type[Plugin]) -> Callable[..., None]:
    """A pytest function with one case a check of every plugin class. A test module of two lines runs the suite:

        from my_package import MyAttack, MyDefense
        test_conformance = plugin_tests(MyAttack, MyDefense)

    A case is named "my_attack: scores are finite", so that `-k my_attack` runs one plugin's. Checks of a plugin share
    one tiny run. A case fails with the line of the plugin, what was expected and what was got; a check that cannot be
    made here, such as one that needs weights that this machine lacks, is skipped with the reason. Needs pytest.
    """
    import pytest

    cases = [
        pytest.param(plugin, check, id=f"{getattr(plugin, 'name', plugin.__name__)}: {check.name}")
        for plugin in plugins
        for check in _listed(plugin)
    ]

    @pytest.mark.parametrize(("plugin", "check"), cases)
    def test_conformance(plugin: type[Plugin], check: Check) -> None:
        result = run_check(check, plugin)
        if result.skip:
            pytest.skip(result.skip)
        if not result.passed:
            pytest.fail(f"{plugin.name}: {result}", pytrace=False)

    return test_conformance


def _listed(plugin: type[Plugin]) -> Iterator[Check]:
    """The checks of a plugin; one that raises where it cannot even be made, so that collecting tests goes on."""
    try:
        yield from list_checks(plugin)
    except Exception as error:
        yield Check("its checks can be listed", _raiser(error), plugin)


def _raiser(error: Exception) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail

"""The conformance suite: what every attack and defense owes the harness, checked on toys of random images.

Parameters validate; a tiny run works; shapes and dtypes hold; scores are finite; batch size and order do not change
them; the declared access suffices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from leakbench.api import Defense, Plugin
from leakbench.api.families import family_of
from leakbench.results.families import FamilyName
from leakbench.testing.attribute import attribute_checks
from leakbench.testing.auditing import auditing_checks
from leakbench.testing.check import Check, CheckFailed, CheckResult
from leakbench.testing.defense import defense_checks
from leakbench.testing.membership import membership_checks
from leakbench.testing.memorisation import memorisation_checks
from leakbench.testing.parameters import parameter_checks
from leakbench.testing.replication import replication_checks
from leakbench.testing.source_lines import line_of_answer, line_of_error
from leakbench.testing.unlearning import unlearning_checks

CHECKS: dict[FamilyName, Callable[[Any], Iterator[Check]]] = {  # rows of leakbench.results.families
    "membership": membership_checks,
    "memorisation": memorisation_checks,
    "replication": replication_checks,
    "attribute": attribute_checks,
    "unlearning": unlearning_checks,
    "auditing": auditing_checks,
}


def list_checks(plugin: type[Plugin]) -> Iterator[Check]:
    """The checks of a plugin class, in order, none of them run yet."""
    yield from parameter_checks(plugin)
    if issubclass(plugin, Defense):
        yield from defense_checks(plugin)
    elif family := family_of(plugin):
        yield from CHECKS[family](plugin)
    else:
        words = f"a Defense, or an Attack whose family is one of {', '.join(CHECKS)}"

        def fail() -> None:
            raise CheckFailed(words, ", ".join(kind.__name__ for kind in plugin.__bases__), plugin)

        yield Check("it is a defense, or an attack of a known family", fail, plugin)


def run_check(check: Check, plugin: type[Plugin]) -> CheckResult:
    """Run one check. A check that raises has failed, on the deepest line of the plugin that the error passed."""
    if check.skip:
        return CheckResult(check.name, True, skip=check.skip)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        check.run()
    except CheckFailed as failure:
        where = failure.where or line_of_answer(failure.method or plugin)
        return CheckResult(check.name, False, where, failure.expected, failure.got)
    except Exception as error:
        where = line_of_error(error, plugin) or line_of_answer(check.method or plugin)
        return CheckResult(check.name, False, where, "no error", f"{type(error).__name__}: {error}")
    finally:
        torch.set_num_threads(threads)
    return CheckResult(check.name, True)


def check_plugin(plugin: type[Plugin]) -> Iterator[CheckResult]:
    """Run all checks of a plugin class, one after the other."""
    checks = list_checks(plugin)
    while True:
        try:
            check = next(checks)
        except StopIteration:
            return
        except Exception as error:  # the plugin cannot even be made: its checks are not known
            where = line_of_error(error, plugin) or line_of_answer(plugin)
            words = f"{type(error).__name__}: {error}"
            yield CheckResult("its checks can be listed", False, where, "no error", words)
            return
        yield run_check(check, plugin)


def failures(plugin: type[Plugin]) -> list[CheckResult]:
    """The checks that a plugin class fails: an empty list if it conforms."""
    return [result for result in check_plugin(plugin) if not result.passed]

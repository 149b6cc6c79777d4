"""The conformance suite: what every attack and defense owes the harness, checked on a tiny model of random images.

parameters validate; a tiny run works; shapes and dtypes hold; scores are finite; batch size and order do not change
them; the declared access suffices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from pydantic import ValidationError

from leakbench.api import Access, Attack, Defense, Plugin
from leakbench.api.families import family_of
from leakbench.results.families import FamilyName
from leakbench.testing.attribute import AttributeChecks
from leakbench.testing.auditing import AuditingChecks
from leakbench.testing.defense import DefenseChecks
from leakbench.testing.membership import MembershipChecks
from leakbench.testing.replication import ReplicationChecks
from leakbench.testing.toy_model import Check
from leakbench.testing.unlearning import UnlearningChecks

__all__ = ["CHECKS", "check"]

CHECKS: dict[FamilyName, Callable[[Any], Any]] = {  # rows of leakbench.results.families
    "membership": MembershipChecks,
    "replication": ReplicationChecks,
    "attribute": AttributeChecks,
    "unlearning": UnlearningChecks,
    "auditing": AuditingChecks,
}


def check(plugin: type[Plugin]) -> Iterator[tuple[bool, str]]:
    """(passed, what was checked) one after the other; a check that raises has failed, and says how."""
    torch.set_num_threads(1)
    if issubclass(plugin, Defense) and plugin.given:  # there is nothing to try it on: its parameters name a model
        checks = list(_of_parameters(plugin))
    elif issubclass(plugin, Defense):
        checks = [*_of_parameters(plugin), *DefenseChecks(plugin).checks()]
    elif family := family_of(plugin):
        checks = [*_of_parameters(plugin), *CHECKS[family](plugin).checks()]
    else:
        checks = [("it is a Defense or an Attack of a family that can be measured", lambda: False)]
    for words, question in checks:
        try:
            yield bool(question()), words
        except Exception as error:
            yield False, f"{words} ({type(error).__name__}: {error})"


def _of_parameters(plugin: type[Plugin]) -> Iterator[Check]:
    yield "it has a name and a summary", lambda: bool(plugin.name and plugin.summary)
    yield "its defaults are valid, and it is frozen", lambda: _refuses(lambda: setattr(plugin(), "anything", 1))
    yield "an unknown parameter is refused", lambda: _refuses(lambda: plugin(no_such_parameter=1))  # type: ignore[call-arg]
    if issubclass(plugin, Attack):
        yield "it declares family and access", lambda: bool(plugin.family) and plugin.access in Access
    else:
        marked = plugin.fields_of("training") | plugin.fields_of("sampling")
        yield "every parameter is marked training or sampling", lambda: marked == set(plugin.model_fields)


def _refuses(action: Callable[[], Any]) -> bool:
    try:
        action()
    except ValidationError:
        return True
    return False

"""Public test tools for plugin authors: the conformance suite, and the toys that it runs on.

In a plugin package, tests/test_conformance.py is

    from leakbench.testing import plugin_tests
    from my_package import MyAttack, MyDefense

    test_conformance = plugin_tests(MyAttack, MyDefense)

`leakbench check plugin NAME` runs the same checks from the command line.
"""

from leakbench.testing.check import CheckResult
from leakbench.testing.conformance import check_plugin, failures
from leakbench.testing.pytest_checks import plugin_tests
from leakbench.testing.toys import (
    MemorisingNetwork,
    toy_images,
    toy_network,
    toy_release,
    toy_rng,
    toy_task,
    toy_view,
)

__all__ = [
    "CheckResult",
    "MemorisingNetwork",
    "check_plugin",
    "failures",
    "plugin_tests",
    "toy_images",
    "toy_network",
    "toy_release",
    "toy_rng",
    "toy_task",
    "toy_view",
]

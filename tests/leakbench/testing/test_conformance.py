"""Every built-in attack and defense passes the conformance suite, in the very file that plugin authors have."""

import pytest

from leakbench.runtime import registry
from leakbench.testing import plugin_tests

pytestmark = pytest.mark.usefixtures("hurried")

test_conformance = plugin_tests(
    *(registry.find(group, name) for group in ("attacks", "defenses") for name in registry.names(group))
)

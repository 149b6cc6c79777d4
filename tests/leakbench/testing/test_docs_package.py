"""The tests that the docs show for a plugin package pass, with the plugins of the page as its modules."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """package(page): its python blocks that import my_package, whose modules are the plugins of the page."""

    def build(page):
        blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
        (tmp_path / "my_package").mkdir()
        for block in blocks:
            if plugin := re.search(r'^    name = "(\w+)"', block, re.MULTILINE):
                (tmp_path / "my_package" / f"{plugin[1]}.py").write_text(block)
        return [block for block in blocks if "from my_package" in block]

    monkeypatch.syspath_prepend(tmp_path)
    yield build
    for module in [module for module in sys.modules if module.split(".")[0] == "my_package"]:
        del sys.modules[module]


@pytest.mark.parametrize("page", ["adding_an_attack.md", "adding_a_defense.md"])
def test_the_tests_of_a_package_in_the_docs_pass(page, package):
    conformance, own = package(page)
    space = {}
    exec(compile(conformance, page, "exec"), space)
    assert len(space["test_conformance"].pytestmark[0].args[1]) > 8
    exec(compile(own, page, "exec"), space)
    (test,) = (space[name] for name in space if name.startswith("test_") and name != "test_conformance")
    test()

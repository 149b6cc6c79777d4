"""The table of kinds in docs/models.md is what comes of them."""

import importlib.util
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def model_kinds():
    """tests/model_kinds.py."""
    pytest.importorskip("transformers")
    spec = importlib.util.spec_from_file_location("model_kinds", TESTS / "model_kinds.py")
    module = sys.modules["model_kinds"] = importlib.util.module_from_spec(spec)  # where its dataclasses look
    spec.loader.exec_module(module)
    yield module
    del sys.modules["model_kinds"]


def table(module):
    page = module.PAGE.read_text()
    return page[page.index(module.BEGIN) : page.index(module.END) + len(module.END)]


def test_the_table_names_every_kind_and_no_other(model_kinds, tmp_path):
    lines = [line for line in table(model_kinds).splitlines() if line.startswith("| ")]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in lines[1:]]
    assert rows == list(model_kinds.kinds(model_kinds.Maker(tmp_path))), model_kinds.COMMAND
    assert len(rows) >= 30 and not any(word in table(model_kinds) for word in (" NO ", "NO: ", "BUT the plan"))


@pytest.mark.slow  # 5 minutes of processor time
@pytest.mark.filterwarnings("ignore")
def test_the_table_is_what_came(model_kinds, tmp_path, cache):
    assert model_kinds.render(model_kinds.try_all(tmp_path)) == table(model_kinds), model_kinds.COMMAND

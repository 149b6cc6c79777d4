"""docs/audit.ipynb does what it shows: its cells run in their order, with less training and fewer samples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "audit.ipynb"
CELLS = json.loads(PAGE.read_text())["cells"]
SHORTER = {
    "STEPS, EVERY = 1500, 500": "STEPS, EVERY = 10, 10",
    '"quality.samples": 100': '"quality.samples": 20, "sampler.batch": 20',
    '"pia", "secmi", "nearest_copy"]': '"pia", "nearest_copy"]',
}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What its cells leave behind."""
    found, last, code = {}, {}, "\n\0".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code")
    for long, short in SHORTER.items():
        assert code.count(long) == 1
        code = code.replace(long, short)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        patch.setenv("LEAKBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("leakbench.runner.run_log.FORMATS", ("csv",))
        for cell in code.split("\n\0"):
            *lines, end = cell.removeprefix("%matplotlib inline\n").splitlines()
            try:
                value = compile(end, "cell", "eval")
            except SyntaxError:  # the last line only ends a statement
                exec("\n".join([*lines, end]), found)
            else:
                exec("\n".join(lines), found)
                last[end] = eval(value, found)
        yield found, last


def test_its_cells_run_and_show_what_is_written_below_them(names):
    found, shown = names
    assert found["watch"].curve().columns.tolist() == ["step", "attack", "auc", "auc_low", "auc_high"]
    assert set(shown["results.verdicts()"]["point"]) == {"model", "untrained"}
    assert shown["results"].metric("model", "pia", "tpr@fpr=0.1").n == 80


def test_its_outputs_are_those_of_its_last_line_and_hold_no_path_of_a_machine():
    kinds = {kind for cell in CELLS for one in cell.get("outputs", ()) for kind in one["data"]}
    assert kinds == {"text/plain", "text/html", "image/png"}
    assert "site-packages" not in PAGE.read_text() and "/home/" not in PAGE.read_text()

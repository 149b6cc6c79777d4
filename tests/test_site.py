"""The documentation site: its links, lists and reference. `tox -e docs` builds it whole, and refuses dead links."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

import leakbench
from leakbench.reports.figures import registry
from leakbench.results.metric_specs import METRICS
from leakbench.results.run_folder import RunFolder

ROOT = Path(__file__).parent.parent


def site_module(name):
    """A file of docs/site/, which is no package: mkdocs loads it by its path."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", ROOT / "docs" / "site" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


links = site_module("links")


@pytest.mark.parametrize(
    ("link", "folder", "page", "on_the_site"),
    [
        ("claims.md#keys", "docs", "your_model.md", "claims.md#keys"),
        ("docs/claims.md", ".", "index.md", "claims.md"),
        ("docs/figures/tradeoff.png", ".", "index.md", "figures/tradeoff.png"),
        ("../README.md", "docs", "python.md", "index.md"),
        ("audit.ipynb", "docs", "python.md", "audit.md"),
        ("../leakbench/api/views.py", "docs", "python.md", "source/leakbench/api/views.py.md"),
        ("../leakbench/api/", "docs", "python.md", "source/leakbench/api/index.md"),
        (".ci/run", ".", "CONTRIBUTING.md", "source/ci/run.md"),
        ("#arrays", "docs", "datasets.md", "#arrays"),
        ("https://semver.org/x.html", ".", "CHANGELOG.md", "https://semver.org/x.html"),
    ],
)
def test_a_link_of_the_repository_leads_to_the_same_on_the_site(link, folder, page, on_the_site):
    assert links.turn_links(f"see [it]({link}).", folder, page) == f"see [it]({on_the_site})."


def test_what_stands_in_code_is_left_alone():
    code = "```text\n[it](docs/claims.md)\nwords\n- list\n```"
    assert links.turn_links(code, ".", "index.md") == code
    assert links.space_lists(code) == code


def test_lists_get_the_space_that_mkdocs_asks_for():
    assert links.space_lists("Words:\n- one\n  more\n- two\n") == "Words:\n\n- one\n  more\n- two\n"
    assert links.space_lists("> Words:\n> - one\n") == "> Words:\n> \n> - one\n"
    assert links.space_lists("- one\n  - inner\n") == "- one\n    - inner\n"


def test_a_notebook_keeps_its_code_and_what_it_printed():
    markdown = site_module("notebook").to_markdown((ROOT / "docs" / "audit.ipynb").read_text())
    assert "```python\nunet = UNet2DModel(" in markdown
    assert "```text\n(torch.Size([100, 1, 8, 8])" in markdown
    assert "<td>pia 0.98 [0.93, 0.99]</td>" in markdown and "<style" not in markdown
    assert "](data:image/png;base64,iVBOR" in markdown


def test_the_reference_names_every_command_and_public_function():
    pages = site_module("reference").pages()
    for name in ("run", "audit", "check claims", "claims init"):
        assert f"## `leakbench {name}`" in pages["reference/command_line.md"]
    assert "| `--members DIR` |" in pages["reference/command_line.md"]
    shown = f"{pages['reference/python.md']}\n\n{pages['reference/api.md']}\n\n"
    assert [name for name in leakbench.__all__ if name[0] != "_" and f".{name}\n\n" not in shown] == []
    assert all(f"| `{spec.name}` |" in pages["reference/metrics.md"] for spec in METRICS)


def test_the_figure_of_the_x_rays_is_what_the_records_give(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "docs" / "results" / "medical", tmp_path / "medical")
    monkeypatch.setattr(registry, "CHARTS", registry.CHARTS[:1])
    registry.write_drawings(RunFolder(tmp_path / "medical"))
    drawn, shown = (
        matplotlib.image.imread(path)[..., :3]
        for path in (tmp_path / "medical/figures/tradeoff.png", ROOT / "docs/figures/medical_tradeoff.png")
    )
    assert drawn.shape == shown.shape
    assert np.abs(drawn - shown).mean() < 0.002  # other versions of matplotlib place letters a little differently

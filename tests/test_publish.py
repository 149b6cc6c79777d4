"""publish.yml and tox.ini: each Python that pyproject.toml names is tried, with the lowest torch and the newest."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parent.parent
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def named_pythons():
    found = (re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in PROJECT["classifiers"])
    return [match[1] for match in found if match]


def test_every_python_that_is_named_is_tried_with_each_torch():
    matrix = WORKFLOW["jobs"]["versions"]["strategy"]["matrix"]
    assert matrix == {"python": named_pythons(), "torch": ["lowest", "newest"]}
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    minors = ",".join(version.removeprefix("3.") for version in named_pythons())
    assert f"testenv:py3{{{minors}}}-{{lowest,newest}}" in tox.sections()


def test_the_lowest_torch_is_the_bound_of_the_project():
    (bound,) = (line.removeprefix("torch>=") for line in PROJECT["dependencies"] if line.startswith("torch>="))
    lowest = (ROOT / ".ci" / "lowest.txt").read_text().splitlines()
    assert [line for line in lowest if line and line[0] != "#"] == [f"torch=={bound}.*"]
    assert f"startswith('{bound}.')" in (ROOT / "tox.ini").read_text()


def test_only_what_was_tried_is_published_and_no_password_is_held():
    jobs = WORKFLOW["jobs"]
    for name in ("attach", "publish"):
        assert set(jobs[name]["needs"]) == {"versions", "build"}
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert jobs["publish"]["permissions"] == {"id-token": "write"} and jobs["publish"]["environment"] == "release"
    assert "secrets." not in (ROOT / ".github" / "workflows" / "publish.yml").read_text()

"""The wheel and the editable install: one import name, nothing else, and no folder of the user's in the way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("leakbench", "attacks", "defenses", "reports", "benchmarks")
pytestmark = pytest.mark.slow


def call(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=200, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the source, so that building leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp("source") / "leakbench"
    folder.mkdir()
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """The wheel, built without the network by the setuptools that is installed."""
    pytest.importorskip("build")
    pytest.importorskip("setuptools")
    out = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_leakbench_and_its_metadata_and_nothing_else(wheel, source):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"leakbench", "leakbench-1.0.0.dist-info"}
    ours = {name for name in names if name.startswith("leakbench/")}
    kept = [path.relative_to(source) for folder in FOLDERS for path in (source / folder).rglob("*") if path.is_file()]
    wanted = {str(path if path.parts[0] == "leakbench" else Path("leakbench") / path) for path in kept}
    wanted = {name for name in wanted if not re.search("/(memory|soak|speed)/", name)}  # those are for the checkout
    assert ours == wanted
    for suffix in (".toml", ".mplstyle"):
        assert any(name.endswith(suffix) for name in ours)
    assert any(name.endswith("LICENSE") for name in names)


TRY = """
import leakbench, sys
from importlib.metadata import entry_points
from leakbench.attacks.membership.pia import PIA
import attacks
assert attacks.MINE == "the user's own folder"
assert PIA.__module__ == "leakbench.attacks.membership.pia"
for group in ("attacks", "defenses", "datasets", "reports", "suites"):
    entries = entry_points(group="leakbench." + group)
    assert entries, group
    for entry in entries:
        entry.load()
from leakbench.runtime.registry import suite_files
assert "quick" in suite_files()
print(leakbench.__file__)
"""


@pytest.fixture
def elsewhere(tmp_path):
    """A user's folder that has an `attacks/` of its own."""
    (tmp_path / "project" / "attacks").mkdir(parents=True)
    (tmp_path / "project" / "attacks" / "__init__.py").write_text('MINE = "the user\'s own folder"\n')
    (tmp_path / "project" / "attempt.py").write_text(TRY)
    return tmp_path / "project"


@pytest.fixture
def fresh(tmp_path):
    """A fresh environment's Python, which sees the packages of this one but not its editable leakbench."""
    call(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    # A plain line adds a folder to the path without reading the .pth files that lie there.
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return tmp_path / "venv" / "bin" / "python"


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_an_installed_leakbench_works_beside_a_users_own_attacks_folder(kind, wheel, source, elsewhere, fresh):
    pytest.importorskip("uv")
    what = [wheel] if kind == "wheel" else ["--editable", source]
    options = ("--offline", "--no-deps", "--no-build-isolation", "--python", fresh)
    call(sys.executable, "-m", "uv", "pip", "install", *options, *what)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONWARNINGS": "error"}
    found = Path(call(fresh, "attempt.py", cwd=elsewhere, env=environment).strip())
    assert found.is_relative_to(fresh.parent.parent if kind == "wheel" else source)
    assert "Examples:" in call(fresh.parent / "leakbench", "--help", cwd=elsewhere, env=environment)

"""Other people's attacks and defenses: --plugin files, scaffolds, entry points."""

from __future__ import annotations

import csv
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError

ATTACK = '''
from torch import Tensor

from leakbench.api import Access, MembershipAttack, release_param


class Twice(MembershipAttack):
    """The answer at t and at 2 t agree for members."""

    name = "twice"
    summary = "agreement of two timesteps"
    access = Access.DENOISER

    t: int = release_param(50, ge=1, lt=500)

    def score(self, view, images: Tensor, labels: Tensor | None) -> Tensor:
        gap = view.eps(images, self.t) - view.eps(images, 2 * self.t)
        return -gap.flatten(1).norm(dim=1)
'''


def test_a_plugin_runs_as_it_is_written_whatever_byte_code_lies_beside_it(tmp_path, monkeypatch):
    """Byte code of another text, with the file's own time and size, would run in its place."""
    path, other = tmp_path / "mine.py", ATTACK.replace("twice", "thrce")
    path.write_text(other)
    compiled = Path(py_compile.compile(str(path)))
    times = path.stat()
    path.write_text(ATTACK)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = compiled.read_bytes()
    assert registry.load_file(path) == ["twice"] and compiled.read_bytes() == before


def test_an_attack_of_25_lines_shows_up_in_the_results_and_in_the_trade_off(leakbench, trained, tiny, tmp_path):
    assert len(ATTACK.strip().splitlines()) <= 25
    (tmp_path / "mine.py").write_text(ATTACK)
    tiny.write_text(
        tiny.read_text().replace('name = "loss"', 'name = "twice"').replace('[[attack]]\nname = "pia"\n', "")
    )
    words = ("--workers", 1, "--plugin", tmp_path / "mine.py", "--set", "quality.features=pixels")
    outcome = leakbench("run", tiny, "--out", tmp_path / "run", *words)
    assert outcome.code == 0, outcome.err
    with (tmp_path / "run" / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["attack"] == "twice" and row["metric"] == "auc"]
    assert [(row["defense"], row["access"]) for row in rows] == [
        (defense, access) for defense in ("baseline", "cpsample", "cpsample") for access in ("DENOISER", "WEIGHTS")
    ]
    assert {float(row["queries"]) for row in rows} == {2.0}
    assert "twice" in outcome.out  # the strongest attack, named in the table on the terminal


@pytest.fixture(scope="module")
def scaffolds(leakbench, tmp_path_factory):
    """The folder in which `leakbench new KIND my_KIND` wrote, what it said by kind, and how pytest of all that it wrote
    ended: one process for both kinds, as it takes seconds to start."""
    folder = tmp_path_factory.mktemp("scaffolds")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said = {kind: leakbench("new", kind, f"my_{kind}") for kind in ("attack", "defense")}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rA",
            "-p",
            "no:cacheprovider",
            *(f"test_my_{kind}.py" for kind in said),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return folder, said, done


@pytest.mark.parametrize("kind", ["attack", "defense"])
def test_a_new_plugin_conforms_and_runs_in_a_suite(leakbench, trained, tiny, tmp_path, monkeypatch, scaffolds, kind):
    (folder, said, done), name = scaffolds, f"my_{kind}"
    assert said[kind].code == 0
    assert f"leakbench check plugin {name} --plugin {name}.py" in said[kind].out
    assert done.returncode == 0 and f"PASSED test_{name}.py" in done.stdout, done.stdout
    shutil.copyfile(folder / f"{name}.py", tmp_path / f"{name}.py")
    monkeypatch.chdir(tmp_path)
    assert leakbench("check", "plugin", name, "--plugin", f"{name}.py").code == 0
    base = '\nbase = "baseline"' if kind == "defense" else ""
    tiny.write_text(tiny.read_text() + f'\n[[{kind}]]\nname = "{name}"{base}\n')
    settings = ["--set", "defense.cpsample.alpha=0.5", "--set", "quality.features=pixels"]
    ran = leakbench("run", tiny, "--workers", 1, "--plugin", f"{name}.py", *settings)
    assert ran.code == 0, ran.err
    assert name in (tmp_path / "runs" / "tiny" / "results.csv").read_text()


@pytest.mark.parametrize("name", ["My-Attack", "class", "9lives", "a b", "../x"])
def test_new_refuses_what_is_no_name(leakbench, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    outcome = leakbench("new", "attack", name)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert repr(name) in outcome.err
    assert "my_attack" in outcome.err


def test_new_never_overwrites(leakbench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("precious")
    assert leakbench("new", "attack", "mine").code == 2
    assert (tmp_path / "mine.py").read_text() == "precious"
    (tmp_path / "test_other.py").write_text("precious")
    assert leakbench("new", "attack", "other").code == 2
    assert (tmp_path / "test_other.py").read_text() == "precious" and not (tmp_path / "other.py").exists()


@pytest.mark.parametrize(
    "source, words",
    [
        ("def broken(:\n", ["SyntaxError", "line 1"]),
        ("import no_such_module\n", ["ModuleNotFoundError", "no_such_module"]),
        ("x = 1\n", ["defines no attack and no defense"]),
        ("from leakbench import *\n", ["defines no attack and no defense"]),
    ],
)
def test_a_plugin_file_that_cannot_be_used_is_named(tmp_path, source, words):
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(UsageError) as caught:
        registry.load_file(tmp_path / "mine.py")
    for word in ["--plugin", "mine.py", *words]:
        assert word in str(caught.value)


LOSS_AGAIN = """
from leakbench.attacks.membership.loss import Loss
class Mine(Loss):
    {line}
"""


def test_a_plugin_file_does_not_replace_a_built_in_of_the_same_name(leakbench, tiny, tmp_path):
    (tmp_path / "mine.py").write_text(LOSS_AGAIN.format(line='summary = "another"'))
    with pytest.raises(UsageError, match=r"mine\.py: the attack 'loss' of class Mine is taken by leakbench\.attacks"):
        registry.load_file(tmp_path / "mine.py")
    assert registry.find("attacks", "loss").__name__ == "Loss"
    outcome = leakbench("run", tiny, "--plan", "--plugin", tmp_path / "mine.py")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1) and "give it another name" in outcome.err


def test_two_plugin_files_do_not_replace_each_other(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(LOSS_AGAIN.format(line='name = "mine"'))
    assert registry.load_file(tmp_path / "one.py") == registry.load_file(tmp_path / "one.py") == ["mine"]
    with pytest.raises(UsageError, match=r"two\.py: the attack 'mine' of class Mine is taken by --plugin .*one\.py"):
        registry.load_file(tmp_path / "two.py")


def test_two_plugins_of_one_file_have_two_names(tmp_path):
    (tmp_path / "mine.py").write_text(LOSS_AGAIN.format(line='name = "mine"') + "class Other(Mine):\n    pass\n")
    with pytest.raises(UsageError, match="'mine' of class Mine is taken by Other"):
        registry.load_file(tmp_path / "mine.py")
    assert "mine" not in registry.names("attacks")


@pytest.fixture
def second_package(tmp_path, monkeypatch):
    """An installed package that registers an attack and a suite under names that are taken."""
    folder = tmp_path / "second_package-2.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: second-package\nVersion: 2.0\n")
    (folder / "entry_points.txt").write_text(
        "[leakbench.attacks]\nloss = second_module:Loss\n[leakbench.suites]\nsecond = second_suites\n"
    )
    (tmp_path / "second_module.py").write_text("from leakbench.attacks.membership.loss import Loss\n")
    (tmp_path / "second_suites").mkdir()
    (tmp_path / "second_suites" / "__init__.py").touch()
    (tmp_path / "second_suites" / "quick.toml").write_text("name = 'quick'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._entries.cache_clear()
    yield tmp_path
    registry._entries.cache_clear()


def test_a_name_that_two_packages_register_is_an_error_that_names_both(second_package):
    with pytest.raises(UsageError) as caught:
        registry.find("attacks", "loss")
    for words in ("leakbench.attacks.membership.loss:Loss of leakbench", "second_module:Loss of second-package 2.0"):
        assert words in str(caught.value)
    assert registry.find("attacks", "pia").name == "pia"  # the others are not affected
    with pytest.warns(UserWarning, match="registered twice"):
        assert "loss" not in dict(registry.load_all("attacks"))


def test_a_suite_that_two_packages_have_is_an_error_that_names_both(second_package):
    with pytest.raises(UsageError, match=r"'quick' is defined twice, by .*quick\.toml and by .*quick\.toml"):
        registry.suite_path("quick")
    assert registry.suite_path("tour").name == "tour.toml"


@pytest.fixture
def broken_package(tmp_path, monkeypatch):
    """An installed package whose attack cannot be imported."""
    folder = tmp_path / "broken_package-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-package\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[leakbench.attacks]\nwreck = wreck_module:Wreck\n")
    (tmp_path / "wreck_module.py").write_text("raise RuntimeError('half installed')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._entries.cache_clear()
    yield tmp_path
    registry._entries.cache_clear()


def test_a_broken_entry_point_is_a_named_warning_and_no_crash(broken_package):
    with pytest.warns(UserWarning, match="attack 'wreck' is broken: RuntimeError: half installed"):
        found = dict(registry.load_all("attacks"))
    assert {"loss", "pia"} <= set(found)
    assert "wreck" not in found


def test_a_broken_entry_point_stops_only_those_who_ask_for_it(leakbench, broken_package, tiny):
    assert leakbench("run", tiny, "--plan").code == 0
    tiny.write_text(tiny.read_text() + '\n[[attack]]\nname = "wreck"\n')
    outcome = leakbench("run", tiny, "--plan")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "'wreck' is broken: RuntimeError: half installed" in outcome.err


def test_doctor_names_a_broken_entry_point(leakbench, broken_package):
    outcome = leakbench("doctor")
    assert outcome.code == 0
    assert "broken   attack 'wreck' is broken: RuntimeError: half installed" in outcome.out

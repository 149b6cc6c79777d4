"""Other people's attacks and defenses: --plugin files, the conformance suite, scaffolds, entry points."""

from __future__ import annotations

import csv

import pytest

from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.testing.conformance import check

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


def failures(plugin):
    return [words for passed, words in check(plugin) if not passed]


@pytest.fixture
def load(tmp_path):
    """load(source): the one plugin class that a file of this source defines."""

    def from_source(source):
        path = tmp_path / "plugin.py"
        path.write_text(source)
        (name,) = registry.load_file(path)
        return registry.find("attacks" if name in registry.names("attacks") else "defenses", name)

    return from_source


def test_an_attack_of_25_lines_shows_up_in_the_results_and_in_the_trade_off(leakbench, tiny, tmp_path):
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


@pytest.mark.parametrize("name", registry.names("attacks"))
def test_every_built_in_attack_passes_the_conformance_suite(name, hurried):
    assert failures(registry.find("attacks", name)) == []


@pytest.mark.parametrize("name", registry.names("defenses"))
def test_every_built_in_defense_passes_the_conformance_suite(name):
    assert failures(registry.find("defenses", name)) == []


def test_a_plugin_in_a_folder_of_its_own_passes(load):
    assert failures(load(ATTACK)) == []


SCORE = "return -gap.flatten(1).norm(dim=1)"
BROKEN_ATTACKS = {
    "scores that are not finite": (SCORE, "return -gap.flatten(1).norm(dim=1) * float('nan')", "scores are finite"),
    "scores that depend on batch mates": (
        SCORE,
        "n = gap.flatten(1).norm(dim=1); return n.mean() - n",
        "batch size does not change them",
    ),
    "scores that depend on the order": (
        SCORE,
        "n = gap.flatten(1).norm(dim=1); return n * (1 + n.argsort())",
        "order does not change them",
    ),
    "a score too few": (SCORE, "return -gap.flatten(1).norm(dim=1)[:-3]", "scores every image"),
    "one number for all": (SCORE, "return -gap.norm()", "scores every image"),
    "more access than declared": (
        SCORE,
        "return -view.network(images, images[:, 0, 0, 0].long(), None).flatten(1).norm(dim=1)",
        "its access level suffices",
    ),
    "the network at no access": ("Access.DENOISER", "Access.NONE", "its access level suffices"),
    "other scores every time": (SCORE, "import torch; return torch.rand(len(images))", "scores are the same twice"),
    "images written to": (SCORE, "images.mul_(0.5); return -gap.flatten(1).norm(dim=1)", "writes to none"),
    "no summary": ('summary = "agreement of two timesteps"', 'summary = ""', "a name and a summary"),
}


@pytest.mark.parametrize("case", BROKEN_ATTACKS)
def test_a_broken_attack_fails_the_check_that_is_about_it(load, case):
    right, wrong, named = BROKEN_ATTACKS[case]
    assert ATTACK.count(right) == 1
    found = failures(load(ATTACK.replace(right, wrong)))
    assert any(named in words for words in found), found


DEFENSE = """
from dataclasses import dataclass
import torch
from leakbench.api import Defense, Release, release_param

@dataclass(frozen=True)
class Blurred(Release):
    strength: float = 0.0
    def eps(self, x, t, label=None):
        return super().eps(x, t, label) * (1 - self.strength)

class Blur(Defense):
    name = "blur"
    summary = "shrinks the answer"
    needs_base = True
    strength: float = release_param(0.1, ge=0, le=1)
    def release(self, artefacts, task):
        return Blurred.wrap(task.base, strength=self.strength)
"""
ANSWER = "super().eps(x, t, label) * (1 - self.strength)"
BROKEN_DEFENSES = {
    "an unmarked parameter": ("release_param(0.1, ge=0, le=1)", "0.1", "every parameter is marked"),
    "NaN": (ANSWER, "x * float('nan')", "eps has the shape of x and is finite"),
    "another shape": (ANSWER, "x.flatten(1)", "eps has the shape of x"),
    "answers that depend on batch mates": (ANSWER, f"{ANSWER} + x.mean()", "does not depend on batch mates"),
    "chance": (ANSWER, f"{ANSWER} + torch.rand(1)", "twice gives the same bits"),
    "claims that are no JSON": ("strength=self.strength)", "strength=self.strength, guarantee={'e': {1}})", "are JSON"),
    "a fit that reads a sampling parameter": (
        "    def release(self, artefacts, task):",
        "    def fit(self, task):\n        from leakbench.api import Artefacts\n"
        "        return Artefacts(tensors={'t': torch.tensor([self.strength])})\n"
        "    def release(self, artefacts, task):",
        "fit does not depend on sampling-stage parameters",
    ),
    "no release": ("return Blurred.wrap(task.base, strength=self.strength)", "return None", "it releases"),
}


def test_a_small_defense_passes(load):
    assert failures(load(DEFENSE)) == []


@pytest.mark.parametrize("case", BROKEN_DEFENSES)
def test_a_broken_defense_fails_the_check_that_is_about_it(load, case):
    right, wrong, named = BROKEN_DEFENSES[case]
    assert DEFENSE.count(right) == 1
    found = failures(load(DEFENSE.replace(right, wrong)))
    assert any(named in words for words in found), found


def test_check_plugin_says_ok_or_FAIL_and_ends_with_1_on_failure(leakbench, tmp_path):
    (tmp_path / "good.py").write_text(ATTACK)
    good = leakbench("check", "plugin", "twice", "--plugin", tmp_path / "good.py")
    assert good.code == 0
    assert all(line.startswith("ok ") for line in good.out.splitlines())
    (tmp_path / "bad.py").write_text(ATTACK.replace(SCORE, "return -gap.norm()"))
    bad = leakbench("check", "plugin", "twice", "--plugin", tmp_path / "bad.py")
    assert bad.code == 1
    assert "FAIL" in bad.out


@pytest.mark.parametrize("kind", ["attack", "defense"])
def test_a_new_plugin_conforms_and_runs_in_a_suite(leakbench, tiny, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    outcome = leakbench("new", kind, "my_own")
    assert outcome.code == 0
    assert "leakbench check plugin my_own --plugin my_own.py" in outcome.out
    assert leakbench("check", "plugin", "my_own", "--plugin", "my_own.py").code == 0
    base = '\nbase = "baseline"' if kind == "defense" else ""
    tiny.write_text(tiny.read_text() + f'\n[[{kind}]]\nname = "my_own"{base}\n')
    settings = ["--set", "defense.cpsample.alpha=0.5", "--set", "quality.features=pixels"]
    ran = leakbench("run", tiny, "--workers", 1, "--plugin", "my_own.py", *settings)
    assert ran.code == 0, ran.err
    assert "my_own" in (tmp_path / "runs" / "tiny" / "results.csv").read_text()


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
        found = dict(registry.all_of("attacks"))
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

"""The conformance suite sees what is wrong with a plugin, and names the line."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from leakbench.runtime import registry
from leakbench.testing import failures
from leakbench.testing.conformance import list_checks

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


@pytest.fixture
def load(tmp_path):
    """load(source): the one plugin class that a file of this source defines."""

    def from_source(source):
        path = tmp_path / "plugin.py"
        path.write_text(source)
        (name,) = registry.load_file(path)
        return registry.find("attacks" if name in registry.names("attacks") else "defenses", name)

    return from_source


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
    found = list(map(str, failures(load(ATTACK.replace(right, wrong)))))
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
    "a fit that reads a release-stage parameter": (
        "    def release(self, artefacts, task):",
        "    def fit(self, task):\n        from leakbench.api import Artefacts\n"
        "        return Artefacts(tensors={'t': torch.tensor([self.strength])})\n"
        "    def release(self, artefacts, task):",
        "fit does not depend on release-stage parameters",
    ),
    "no release": ("return Blurred.wrap(task.base, strength=self.strength)", "return None", "it releases"),
}


def test_a_small_defense_passes(load):
    assert failures(load(DEFENSE)) == []


@pytest.mark.parametrize("case", BROKEN_DEFENSES)
def test_a_broken_defense_fails_the_check_that_is_about_it(load, case):
    right, wrong, named = BROKEN_DEFENSES[case]
    assert DEFENSE.count(right) == 1
    found = list(map(str, failures(load(DEFENSE.replace(right, wrong)))))
    assert any(named in words for words in found), found


def test_check_plugin_says_ok_or_FAIL_and_ends_with_1_on_failure(leakbench, tmp_path):
    (tmp_path / "good.py").write_text(ATTACK)
    good = leakbench("check", "plugin", "twice", "--plugin", tmp_path / "good.py")
    assert good.code == 0
    assert all(line.startswith("ok ") for line in good.out.splitlines())
    (tmp_path / "bad.py").write_text(ATTACK.replace(SCORE, "return -gap.norm()").replace('"twice"', '"bad"'))
    bad = leakbench("check", "plugin", "bad", "--plugin", tmp_path / "bad.py")
    assert bad.code == 1
    assert "FAIL" in bad.out


WHERE = {  # case -> text of the line that a failing check must name
    "scores that are not finite": "return -gap.flatten(1).norm(dim=1) * float('nan')",
    "scores that depend on batch mates": "n = gap.flatten(1).norm(dim=1); return n.mean() - n",
    "more access than declared": "return -view.network(images",
    "the network at no access": "gap = view.eps(images, self.t)",
}


@pytest.mark.parametrize("case", WHERE)
def test_a_failing_check_names_the_line_what_was_expected_and_what_was_got(load, tmp_path, case):
    right, wrong, named = BROKEN_ATTACKS[case]
    source = ATTACK.replace(right, wrong)
    (result,) = [r for r in failures(load(source)) if named in r.name][:1]
    number = next(n for n, line in enumerate(source.splitlines(), 1) if WHERE[case] in line)
    place, text = result.where.splitlines()
    assert place == f"{tmp_path / 'plugin.py'}:{number} (score)"
    assert WHERE[case] in text
    assert result.expected and result.got
    assert str(result).startswith(f"FAIL {result.name}\n     {place}\n")


DEFENSE_WHERE = {
    "NaN": ("x * float('nan')", "eps"),
    "chance": ("torch.rand(1)", "eps"),
    "an unmarked parameter": ("strength: float = 0.1", "Blur"),
    "a fit that reads a release-stage parameter": ("return Artefacts(", "fit"),
    "no release": ("return None", "release"),
}


@pytest.mark.parametrize("case", DEFENSE_WHERE)
def test_a_failing_check_of_a_defense_names_the_line(load, case):
    right, wrong, named = BROKEN_DEFENSES[case]
    source = DEFENSE.replace(right, wrong)
    words, function = DEFENSE_WHERE[case]
    number = next(n for n, line in enumerate(source.splitlines(), 1) if words in line)
    (result,) = [r for r in failures(load(source)) if named in r.name][:1]
    assert result.where.splitlines()[0].endswith(f"plugin.py:{number} ({function})")


def test_an_error_is_named_by_the_deepest_line_of_the_plugins_own_folder(load, tmp_path):
    (tmp_path / "helper_of_the_plugin.py").write_text("def gap(a, b):\n    return a.no_such_method(b)\n")
    source = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport helper_of_the_plugin\n{ATTACK}"
    found = failures(load(source.replace(SCORE, "return helper_of_the_plugin.gap(gap, gap)")))
    assert {r.where.splitlines()[0] for r in found} == {f"{tmp_path / 'helper_of_the_plugin.py'}:2 (gap)"}
    assert all("no_such_method" in r.got for r in found)


def test_a_random_answer_is_told_how_to_be_drawn_and_passes_once_it_is(load):
    random = DEFENSE.replace(ANSWER, f"{ANSWER} + torch.randn_like(x)")
    found = {r.name: r for r in failures(load(random))}
    assert {"eps answers the same question alike", "fitting and sampling twice gives the same bits"} <= set(found)
    assert "self.answer_noise(x, t, label)" in found["eps answers the same question alike"].expected
    drawn = DEFENSE.replace(ANSWER, f"{ANSWER} + self.answer_noise(x, t, label)").replace('"blur"', '"drawn"')
    assert failures(load(drawn)) == []


PACKAGE_TEST = """
from leakbench.testing import plugin_tests
from plugin_package import Twice, Blur

test_conformance = plugin_tests(Twice, Blur)
"""


@pytest.fixture
def package(tmp_path, monkeypatch, capsys):
    """package(attack, defense): runs the conformance file of a package of these two; its outcome and output."""

    def run(attack, defense, *words):
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        (folder / "plugin_package.py").write_text(attack + defense)
        (folder / "test_conformance.py").write_text(PACKAGE_TEST)
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            patch.syspath_prepend(folder)
            for name in ("plugin_package", "test_conformance"):
                patch.delitem(sys.modules, name, raising=False)
            # Without the plugin that collects garbage at the end: here that would be the whole session's.
            off = ["-p", "no:cacheprovider", "-p", "no:unraisableexception"]
            code = pytest.main(["-q", *off, "test_conformance.py", *words])
        return code, capsys.readouterr().out

    return run


def test_the_pytest_file_of_a_package_passes_and_a_broken_line_is_named(load, package):
    code, out = package(ATTACK, DEFENSE)
    assert code == 0, out
    checks = [*list_checks(load(ATTACK)), *list_checks(load(DEFENSE))]
    assert f"{len(checks)} passed" in out
    broken = ATTACK.replace(SCORE, "return -gap.flatten(1).norm(dim=1) * float('nan')")
    number = next(n for n, line in enumerate(broken.splitlines(), 1) if "float('nan')" in line)
    code, out = package(broken, DEFENSE, "-k", "twice")
    assert code == 1
    assert f"plugin_package.py:{number} (score)" in out and "expected: 48 finite numbers" in out
    assert "test_conformance[twice: scores are finite]" in out

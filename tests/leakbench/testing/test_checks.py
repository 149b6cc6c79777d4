"""The conformance suite sees what is wrong with a plugin, and names the line."""

from __future__ import annotations

import pytest

from leakbench.runtime import registry
from leakbench.testing import failures

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
    (tmp_path / "bad.py").write_text(ATTACK.replace(SCORE, "return -gap.norm()"))
    bad = leakbench("check", "plugin", "twice", "--plugin", tmp_path / "bad.py")
    assert bad.code == 1
    assert "FAIL" in bad.out

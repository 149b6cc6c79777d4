"""Files that `leakbench new` writes: a working attack or defense, and its conformance tests."""

from __future__ import annotations

import keyword
from pathlib import Path

from leakbench.runtime.errors import UsageError

_ATTACK = '''"""{title}: one line on what a member gives away.

Name the paper and the equation here, and every choice of yours.
"""

from torch import Tensor

from leakbench.api import Access, MembershipAttack, release_param
from leakbench.api.views import DenoiserView


class {title}(MembershipAttack):
    """The norm of the predicted noise on the clean image."""

    name = "{name}"
    summary = "norm of the noise prediction on the clean image"
    access = Access.DENOISER

    t: int = release_param(100, ge=0, lt=1000)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Scores (N,), higher = more likely a member."""
        return -view.eps(images, self.t).flatten(1).norm(dim=1)
'''

_DEFENSE = '''"""{title}: one line on why it leaks less.

Name the paper and the equation here, and every choice of yours.
"""

from dataclasses import dataclass

from torch import Tensor

from leakbench.api import Artefacts, Defense, Release, Task, release_param


@dataclass(frozen=True)
class {title}Release(Release):
    """Answers with a weakened noise prediction."""

    strength: float = 0.0

    def eps(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The base's answer, shrunk."""
        return (1.0 - self.strength) * super().eps(x, t, label)


class {title}(Defense):
    """Shrinks the noise prediction; training nothing, it needs a base."""

    name = "{name}"
    summary = "shrinks the noise prediction"
    needs_base = True
    changes = "sampling"

    strength: float = release_param(0.1, ge=0, le=1)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Put it over the base. The base's guarantee is void then, unless `guarantee=task.base.guarantee` passes it on,
        which a step may that reads no training image."""
        assert task.base is not None
        return {title}Release.wrap(task.base, strength=self.strength)
'''


_TEST = '''"""Conformance tests of {name}: `pytest {test}` runs them, and `leakbench check plugin` prints them."""

from {name} import {title}

from leakbench.testing import plugin_tests

test_conformance = plugin_tests({title})
'''


def write_plugin(kind: str, name: str, folder: Path) -> tuple[Path, Path]:
    """Write folder/NAME.py and folder/test_NAME.py, and return both paths.

    Raises UsageError if the name is no identifier or one of the files exists.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise UsageError(f"{name!r}: write a name of lower-case letters, digits and underscores, such as my_{kind}")
    plugin, test = folder / f"{name}.py", folder / f"test_{name}.py"
    for path in (plugin, test):
        if path.exists():
            raise UsageError(f"{path}: the file exists; choose another name")
    title = "".join(word.capitalize() for word in name.split("_"))
    plugin.write_text({"attack": _ATTACK, "defense": _DEFENSE}[kind].format(title=title, name=name))
    test.write_text(_TEST.format(title=title, name=name, test=test.name))
    return plugin, test

"""The closure of code: what counts, what does not, and that it is the interpreter's own."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import textwrap
import time
from importlib.metadata import version

import pytest

from leakbench.runtime import code_digest, registry
from leakbench.runtime.code_digest import closure_of_modules
from leakbench.runtime.source_file import parse_source

WORK = 'import json\nimport numpy as np\n\ndef work():\n    "Works."\n    return np.ones(1)\n'
FILES = {
    "__init__.py": "",
    "root.py": "from pack.used import work\ndef run():\n    from pack.lazily import late\n    return work() + late()\n",
    "used.py": f'"""Says something."""\n{WORK}',
    "lazily.py": "late = lambda: 1\n",
    "idle.py": "nothing = 1\n",
    "hub/__init__.py": "from pack.hub.one import first\nfrom pack.hub.two import second\n",
    "hub/one.py": "first = 1\n",
    "hub/two.py": "second = 2\n",
}


@pytest.fixture
def pack(tmp_path, monkeypatch):
    """pack(**changes): the closure of pack.root in a package of FILES, some of them changed; names by file stem."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def closure(**changes):
        for name, text in {**FILES, **{f"{key}.py": text for key, text in changes.items()}}.items():
            path = tmp_path / "pack" / name.replace("hub__", "hub/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        return closure_of_modules(["pack.root"])

    return closure


def test_it_holds_what_is_imported_anywhere_and_nothing_else(pack):
    found = pack()
    assert set(found.modules) == {"pack.root", "pack.used", "pack.lazily"}
    assert found.libraries == {"numpy": version("numpy")}  # json is of the standard library


CHANGES = {
    "a docstring": ("used", f'"""Says something else."""\n{WORK.replace("Works", "Labours")}'),
    "a comment, and blank lines": ("lazily", "# why\n\n\nlate = (lambda:\n   1)\n"),
    "the order of imports": ("used", "import numpy as np\nimport json\n\ndef work():\n    return np.ones(1)\n"),
    "a file that is not reached": ("idle", "nothing = 2\n"),
}
MATTERS = {
    "a number": ("used", "import numpy as np\n\ndef work():\n    return np.ones(2)\n"),
    "a string that is no docstring": ("lazily", "late = lambda: '1'\n"),
    "a library": ("used", "import numpy as np\nimport scipy\n\ndef work():\n    return np.ones(1)\n"),
    "another name of the same import": ("root", FILES["root.py"].replace("import work", "import work as other")),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_does_not_run_does_not_count(pack, case):
    name, text = CHANGES[case]
    assert pack(**{name: text}).digest == pack().digest


@pytest.mark.parametrize("case", MATTERS)
def test_what_runs_counts(pack, case):
    name, text = MATTERS[case]
    before = pack().digest
    assert pack(**{name: text}).digest != before


def test_another_version_of_a_library_counts(pack, monkeypatch):
    before = pack()
    monkeypatch.setattr(code_digest, "_version", lambda name: "0.0")
    after = pack()
    assert after.modules == before.modules and after.digest != before.digest


def test_a_file_that_moves_changes_names_and_no_digest(pack):
    before = pack()
    after = pack(root=FILES["root.py"].replace("pack.lazily", "pack.hub.late"), hub__late=FILES["lazily.py"])
    assert set(after.modules) == {"pack.root", "pack.used", "pack.hub.late"}
    assert after.digest == before.digest
    other = pack(root=FILES["root.py"].replace("pack.lazily", "pack.hub.late"), hub__late="late = lambda: 2\n")
    assert other.digest != before.digest


def test_a_package_hands_a_name_on_without_being_reached(pack):
    found = pack(root="from pack.hub import second\n")
    assert set(found.modules) == {"pack.root", "pack.hub.two"}
    busy = pack(root="from pack.hub import second\n", hub____init__=FILES["hub/__init__.py"] + "print('hello')\n")
    assert set(busy.modules) == {"pack.root", "pack.hub", "pack.hub.one", "pack.hub.two"}
    itself = pack(root="from pack.hub import third\n", hub____init__=FILES["hub/__init__.py"] + "third = second + 1\n")
    assert {"pack.hub", "pack.hub.two"} <= set(itself.modules)


def test_what_type_checkers_alone_see_is_not_reached(pack):
    text = """
        from __future__ import annotations
        from typing import TYPE_CHECKING
        from pack.hub.one import first
        from pack.hub.two import second
        if TYPE_CHECKING:
            from pack.idle import nothing
        def run(x: first) -> nothing:
            return second
    """
    assert set(pack(root=text).modules) == {"pack.root", "pack.hub.two"}
    dataclass = textwrap.dedent(text) + "import dataclasses\n@dataclasses.dataclass\nclass Fields:\n    x: first\n"
    assert set(pack(root=dataclass).modules) == {"pack.root", "pack.hub.two"}
    fields = textwrap.dedent(text) + "class Fields:\n    x: first\n"  # pydantic reads those
    assert set(pack(root=fields).modules) == {"pack.root", "pack.hub.one", "pack.hub.two"}


def test_relative_imports_are_followed_into_other_folders_and_into_packages(pack):
    one = "from ..used import work\nfrom .. import lazily\nfrom . import two\nfirst = 1\n"
    found = pack(root="from .hub.one import first\n", hub__one=one)
    assert set(found.modules) == {"pack.root", "pack.hub.one", "pack.hub.two", "pack.used", "pack.lazily"}


def test_modules_that_import_one_another_are_each_read_once(pack):
    found = pack(root="def run():\n    import pack.used\n", used="def work():\n    import pack.root\n")
    assert set(found.modules) == {"pack.root", "pack.used"}


def test_the_helper_package_of_a_plugin_file_counts(tmp_path, monkeypatch):
    """Fault 10: a helper beside a --plugin file, a package of several files, was not hashed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_helpers" / "deep").mkdir(parents=True)
    (tmp_path / "my_helpers" / "__init__.py").write_text("from .deep import factor\n")
    (tmp_path / "mine.py").write_text(
        "from leakbench.defenses.baseline import Baseline\nfrom my_helpers import factor\n"
        "class Mine(Baseline):\n    name = 'mine'\n    summary = str(factor)\n"
    )
    digests = []
    for number in (1, 1, 2):
        (tmp_path / "my_helpers" / "deep" / "__init__.py").write_text(f"factor = {number}\n")
        registry.load_file(tmp_path / "mine.py")
        kind = registry.find("defenses", "mine")
        digests.append(code_digest.code_digest(kind))
    assert digests[0] == digests[1] != digests[2]
    assert "my_helpers.deep" in code_digest.code_closure(kind).modules


def test_every_module_that_running_it_imports_is_in_it(pack, tmp_path):
    """Against the interpreter: modules of the package that a fresh process has loaded once the root has run."""
    found = pack()
    code = (
        "import json, sys, pack.root; pack.root.run(); print(json.dumps([n for n in sys.modules if n[:4] == 'pack']))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) - {"pack"} == set(found.modules)  # `pack` itself is empty


def test_every_plugin_of_a_plan_is_digested_well_within_the_time_of_one_import_of_torch():
    kinds = [kind for group in ("attacks", "defenses") for _, kind in registry.load_all(group)]
    for kind in kinds:
        closure_of_modules([kind.__module__])
    began = time.process_time()
    for kind in kinds:
        closure_of_modules([kind.__module__])
    again = time.process_time() - began
    command = [sys.executable, "-c", "import time; import torch; print(time.process_time())"]
    torch_seconds = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert again < torch_seconds


def test_code_that_is_parsed_keeps_its_digest_between_processes():
    code = "from leakbench.runtime.source_file import parse_source as p; print(p(b'x = {1, 2, 3}').digest)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert {run.stdout.strip() for run in runs} == {parse_source(b"x = {1, 2, 3}").digest}

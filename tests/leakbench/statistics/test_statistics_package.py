"""The package as a whole: light to import, nothing else public."""

from __future__ import annotations

import subprocess
import sys

import leakbench.statistics as statistics


def test_import_needs_neither_torch_nor_scipy():
    heavy = ("torch", "scipy", "sklearn", "pandas")
    code = f"import sys, leakbench.statistics; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist_and_are_named_once():
    assert len(statistics.__all__) == len(set(statistics.__all__))
    assert all(hasattr(statistics, name) for name in statistics.__all__)

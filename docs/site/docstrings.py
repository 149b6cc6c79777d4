"""An extension of griffe, which reads the code for mkdocstrings: docstrings are Markdown, spaced as mkdocs asks for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from griffe import Extension, Object

sys.path.insert(0, str(Path(__file__).parent))

from links import space_lists


class SpacedDocstrings(Extension):
    """Puts an empty line above each list of a docstring."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Changes the docstring of whatever has one."""
        if obj.docstring is not None:
            obj.docstring.value = space_lists(obj.docstring.value)

"""Links of the repository's Markdown, turned so that they work on the site as well.

In the repository a page links to another page (`claims.md`), to one of the top folder (`../CONTRIBUTING.md`), or to a
file or folder of code (`../leakbench/api/`). On the site README is the home page, pages of the top folder stand beside
the others, and each file of code that a page links to is a page of its own below source/.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def page_of(path: str) -> str:
    """Site path of a file or folder of the repository, both given from the top."""
    inside = path.removeprefix("docs/")
    if path in TOP:
        return TOP[path]
    if inside != path:
        return inside.replace(".ipynb", ".md")
    visible = path.removeprefix(".")  # a site leaves out what begins with a dot
    return f"source/{visible}/index.md" if (ROOT / path).is_dir() else f"source/{visible}.md"


def links(text: str, folder: str) -> set[str]:
    """Files and folders that a page standing in `folder` links to, as paths from the top of the repository."""
    return {os.path.normpath(os.path.join(folder, link)) for link, _ in LINK.findall(FENCE.sub("", text))}


def turn_links(text: str, folder: str, page: str) -> str:
    """Turn the links of a page that stands in `folder` of the repository, and is `page` of the site."""

    def turn(link: re.Match[str]) -> str:
        target = page_of(os.path.normpath(os.path.join(folder, link[1])))
        return f"]({os.path.relpath(target, os.path.dirname(page) or '.')}{link[2] or ''})"

    return _outside_code(lambda piece: LINK.sub(turn, piece), text)


def space_lists(text: str) -> str:
    """Give lists what mkdocs asks for and GitHub does not: an empty line above, four spaces a level in place of two."""

    def change(piece: str) -> str:
        piece = re.sub(r"^((?:> )?)(?![-> ]|\d+\. )(.+)\n(?=\1- )", r"\1\2\n\1\n", piece, flags=re.MULTILINE)
        return re.sub(r"^((?:  )+)(?=- )", r"\1\1", piece, flags=re.MULTILINE)

    return _outside_code(change, text)


def _outside_code(change: Callable[[str], str], text: str) -> str:
    return "".join(piece if piece.startswith("```") else change(piece) for piece in FENCE.split(text))

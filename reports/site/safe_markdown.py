"""Markdown of a report as HTML that runs nothing and fetches nothing.

Records may come from strangers, and their names and notes stand in the Markdown. Tags and links in it are shown as
text, and the only images are those that the caller hands in.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_OFF = ("link", "autolink", "reference", "html_block", "html_inline")
_TABLE = '<div class="scroll" tabindex="0" role="region" aria-label="Table {number}"><table>\n'


@dataclass(frozen=True)
class Heading:
    """A heading of the second level: its `id` in the page, and its text."""

    anchor: str
    text: str


@dataclass(frozen=True)
class Page:
    """A text as HTML, the text of its first heading, and its headings of the second level."""

    title: str
    body: str
    headings: tuple[Heading, ...]


def render_markdown(text: str, images: Mapping[str, bytes]) -> Page:
    """Turn Markdown into HTML. images: the contents of the PNG files that may stand in it, by the name under which the
    text has them; of others the words that stand for them are left."""
    parser = _parser()
    tokens = parser.parse(text)
    title, headings, tables = "", list[Heading](), 0
    for opening, inline, closing in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if opening.type == "th_open" and not inline.content:
            opening.tag = closing.tag = "td"  # a title that says nothing is none
        if opening.type == "table_open":
            tables += 1
            opening.meta["number"] = tables
        if opening.tag == "h1" and opening.type == "heading_open":
            title = title or _plain_text(inline)
        if opening.tag == "h2" and opening.type == "heading_open":
            words = _plain_text(inline)
            headings.append(Heading(f"{len(headings) + 1}-{_slug(words)}", words))
            opening.attrSet("id", headings[-1].anchor)
    return Page(title, str(parser.renderer.render(tokens, parser.options, {"images": images})), tuple(headings))


def inline_image(data: bytes, words: str) -> str:
    """An `img` that holds the bytes of a PNG file; `words` stand for it where it is not seen."""
    return f'<img src="data:image/png;base64,{base64.b64encode(data).decode()}" alt="{escape(words)}">'


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(list(_OFF))
    for name, rule in (("image", _image), ("table_open", _open_table), ("table_close", _close_table)):
        parser.add_render_rule(name, rule)
    parser.add_render_rule("th_open", _open_title)
    return parser


def _image(_: Any, tokens: Sequence[Token], index: int, options: Any, env: Mapping[str, Any]) -> str:
    token = tokens[index]
    name, words = str(token.attrGet("src")), f"Figure {token.content}, described below"
    return inline_image(env["images"][name], words) if name in env["images"] else escape(token.content)


def _open_table(_: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """A table that is wider than the screen scrolls by itself, also by keyboard."""
    return _TABLE.format(number=tokens[index].meta["number"])


def _close_table(_: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


def _open_title(_: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return '<th scope="col">' if tokens[index].tag == "th" else "<td>"


def _plain_text(inline: Token) -> str:
    return "".join(child.content for child in inline.children or [])


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]

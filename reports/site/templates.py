"""The templates, style sheet and script of the HTML pages, which lie in this folder."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from leakbench.runtime.errors import escape_controls

if TYPE_CHECKING:
    from jinja2 import Environment


def render_page(template: str, **facts: Any) -> str:
    """A page. All facts are escaped but for `body` and `style`, which the templates mark as HTML and CSS."""
    return escape_controls(_environment().get_template(template).render(facts))


def load_text(name: str) -> str:
    """The text of a file in the folder of assets."""
    return (files(__package__) / "assets" / name).read_text("utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(load_text),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

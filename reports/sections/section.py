"""A section of report.md: a function that collects facts, and a template that words them.

A section is one file in this folder with `collect(run)` and `TEMPLATE`, and one name in `registry`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from leakbench.results.run_folder import RunFolder

from ..reading.formatting import count_noun, format_ci, format_estimate, join_words
from ..reading.markdown import escape_cell, markdown_table

if TYPE_CHECKING:
    from jinja2 import Environment


class Section(Protocol):
    """A module of this folder."""

    TEMPLATE: str
    """Markdown with Jinja. It begins with its heading and ends with an empty line. `table(titles, rows)` ends its own
    last line: a line break after it makes the empty line that Markdown needs there."""

    def collect(self, run: RunFolder) -> Mapping[str, Any] | None:
        """The facts that the template names; None leaves the section out."""


def load_section(name: str) -> Section:
    """The section of a file in this folder."""
    return cast(Section, import_module(f"{__package__}.{name}"))


def render_section(name: str, run: RunFolder) -> str:
    """A section as text; empty where it has nothing to say of the run."""
    section = load_section(name)
    facts = section.collect(run)
    return "" if facts is None else template_environment().from_string(section.TEMPLATE).render(facts)


@cache
def template_environment() -> Environment:
    """The functions and filters that templates may use. A name that is not among the facts is an error."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.globals["table"] = markdown_table
    environment.filters |= {
        "cell": escape_cell,
        "counted": count_noun,
        "format_ci": format_ci,
        "format_estimate": format_estimate,
        "join_words": join_words,
    }
    return environment


def join_parts(parts: Iterable[str]) -> str:
    """Rendered parts as one text, with no more than one empty line at a time."""
    return re.sub(r"\n{3,}", "\n\n", "".join(parts))

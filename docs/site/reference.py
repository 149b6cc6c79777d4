"""Reference pages of the site, written from the code: Python's names, the command line, the metrics."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from leakbench.cli import app
from leakbench.results.metric_specs import METRICS

ROOT = Path(__file__).parents[2]


def pages() -> dict[str, str]:
    """Site path -> Markdown of every page of the reference."""
    contracts = _public_names("leakbench.api")
    return {
        "reference/python.md": _names_page(
            "Python: every function",
            "The names of `leakbench`. [Python](../python.md) shows them at work.",
            [f"leakbench.{name}" for name in _public_names("leakbench") if name not in contracts and name[0] != "_"],
        ),
        "reference/api.md": _names_page(
            "Contracts of attacks and defenses",
            "The names of `leakbench.api`. [Adding an attack](../adding_an_attack.md) and "
            "[adding a defense](../adding_a_defense.md) show them at work.",
            [f"leakbench.api.{name}" for name in contracts],
        ),
        "reference/testing.md": _names_page(
            "Test tools for plugins",
            "The names of `leakbench.testing`.",
            [f"leakbench.testing.{name}" for name in _public_names("leakbench.testing")],
        ),
        "reference/command_line.md": command_line(),
        "reference/metrics.md": metrics(),
    }


def _public_names(module: str) -> list[str]:
    """`__all__` of a module, which is read and not imported: it would import torch."""
    tree = ast.parse((ROOT / module.replace(".", "/") / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    raise ValueError(f"{module} has no __all__")


def _names_page(title: str, about: str, names: list[str]) -> str:
    return "\n\n".join([f"# {title}", about, *(f"::: {name}" for name in names)])


def command_line() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    parts = ["# Command line", "What `leakbench COMMAND --help` says. `leakbench` alone begins with examples."]
    for words, command in _commands(typer.main.get_command(app), ["leakbench"]):
        parts += [f"## `{' '.join(words)}`", *_paragraphs(command.help or ""), _parameters(command)]
    return "\n\n".join(parts)


def _commands(command: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    yield words, command
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(inner, [*words, name])


def _paragraphs(text: str) -> Iterator[str]:
    """A help text's paragraphs; one that is not to be wrapped (click marks it by a backspace) is a block."""
    for paragraph in re.split(r"\n\s*\n", re.sub(r"^ {4}", "", text.strip(), flags=re.MULTILINE)):
        marked = paragraph.lstrip().removeprefix("\b").lstrip("\n")
        yield f"```text\n{marked}\n```" if "\b" in paragraph else _plain(marked)


def _plain(text: str) -> str:
    return re.sub(r"([<*_|])", r"\\\1", " ".join(text.split()))


def _parameters(command: Any) -> str:
    context = command.context_class(command, info_name=command.name)
    records = [parameter.get_help_record(context) for parameter in command.params]
    rows = [f"| `{name.replace('|', '/')}` | {_plain(about)} |" for name, about in filter(None, records)]
    return "\n".join(["| argument or option | meaning |", "|---|---|", *rows]) if rows else ""


def metrics() -> str:
    """Every metric of `results.csv`: its name, title, unit, range, and which values speak for a defense."""
    rows = [
        f"| `{spec.name}` | {spec.title} | {spec.unit or '-'} | {spec.low:g} to {spec.high:g} | {spec.better or '-'} |"
        for spec in METRICS
    ]
    about = (
        "The rows of `results.csv`. A part in braces varies. [Statistics](../statistics.md) explains each, with its "
        "interval; [how to read the table](../reading.md) those of the trade-off."
    )
    head = ["# Metrics", "", about, "", "| metric | title | unit | range | better |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])

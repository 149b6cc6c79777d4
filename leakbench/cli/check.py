"""`leakbench check`: a plugin, or claims on a run. Submissions: check_submission.py, check_counter.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import PluginOption, add_to_job_summary, app, load_plugins
from leakbench.runtime.errors import UsageError, nearest_name

_HELP = """Check a plugin, claims on a run, or a submission.

\b
Examples:
  leakbench check plugin pia
  leakbench check claims claims.toml runs/quick
  leakbench check submission quick.zip
"""

check_app = typer.Typer(
    no_args_is_help=True,
    help=_HELP,
)
app.add_typer(check_app, name="check")


@check_app.command(
    "plugin",
    help="""Run the conformance suite on an attack or a defense: one line a check, exit code 1 if one fails.

    A check that fails says on which line of the plugin, what was expected and what was got. The same checks as a pytest
    file: leakbench.testing.plugin_tests.

    \b
    Examples:
      leakbench check plugin cpsample
      leakbench check plugin my_attack --plugin my_attack.py
    """,
)
def check_plugin(
    name: Annotated[str, typer.Argument(help="Name of an attack or a defense.")], plugin: PluginOption = None
) -> None:
    from leakbench.runtime import registry

    load_plugins(plugin)
    groups = [group for group in ("attacks", "defenses") if name in registry.names(group)]
    if not groups:
        known = [*registry.names("attacks"), *registry.names("defenses")]
        raise UsageError(f"unknown plugin {name!r}; {nearest_name(name, known)}")
    from leakbench.testing import conformance  # after what is cheap to refuse: it loads torch

    passed = True
    for group in groups:
        for result in conformance.check_plugin(registry.find(group, name)):
            print(result, flush=True)
            passed &= result.passed
    if not passed:
        raise typer.Exit(1)


@check_app.command(
    "claims",
    help="""Judge claims by a run's intervals: holds, broken or undecided. Exit code 1 if one is broken.

    A file of claims is described in docs/claims.md; `leakbench claims init RUN` writes one that the run bears out.
    Under GitHub Actions each claim is an annotation, and the table joins the job's summary.

    \b
    Examples:
      leakbench check claims claims.toml runs/quick
      leakbench check claims claims.toml runs/quick --strict --junit claims.xml
    """,
)
def check_claims(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file of claims.")],
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for an undecided claim, too.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="XML", help="Write a JUnit report.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="MD", help="Write a table in Markdown.")] = None,
) -> None:
    from leakbench.interface.load import load
    from leakbench.reports.claims import words
    from leakbench.runtime.files import write_atomically

    found = load(folder).check(file)
    print(found.words)
    if junit:
        write_atomically(junit, words.format_junit(found, strict).encode())
    if markdown:
        write_atomically(markdown, words.format_markdown(found).encode())
    if os.environ.get("GITHUB_ACTIONS"):
        print(words.format_annotations(found, file), end="")
        add_to_job_summary(words.format_markdown(found))
    if any(one.outcome == "broken" or (strict and one.outcome == "undecided") for one in found):
        raise typer.Exit(1)

"""`leakbench check submission`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import VOID, PluginOption, load_plugins, one_thread_a_process
from leakbench.cli.check import check_app


@check_app.command(
    "submission",
    help="""Check a packed run: hashes, split, seeds, cells, and every number that follows from its raw arrays.

    Exit code 0 if all agrees, 1 if something does not (a line each), 2 for what is no packed run, 3 where all agrees
    and the track is void. A cell without a record is shown as missing. Plugins of the submitter's are code: read one
    before you give it.

    \b
    Examples:
      leakbench check submission quick.zip
      leakbench check submission quick.zip --record verified.json
    """,
)
def check_submission(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A file of `leakbench submit`, or its folder, unpacked.")
    ],
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Add what is found to this file, for leaderboards.")
    ] = None,
    plugin: PluginOption = None,
) -> None:
    one_thread_a_process()
    from leakbench.interface.submission.check import check_submission as check

    load_plugins(plugin)
    found = check(path, record)
    for kind, word in (("notes", "note"), ("missing", "missing"), ("disagreements", "disagrees")):
        for line in getattr(found.findings, kind):
            print(f"{word}: {line}")
        if more := found.findings.left_out(kind):
            print(f"{word}: and {more} more")
    for reason in found.void:
        print(f"void: {reason}")
    missing = found.findings.counts.get("missing", 0)
    suite = found.ensemble or "no frozen suite"
    print(
        f"{found.status}: {found.records} records, {missing} missing, {found.findings.numbers} numbers computed again; "
        f"{suite}; digest {found.digest}"
    )
    if found.status == "disagrees":
        raise typer.Exit(1)
    if found.status == "void":
        raise typer.Exit(VOID)

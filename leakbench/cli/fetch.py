"""`leakbench fetch`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leakbench.cli.app import app
from leakbench.runtime.errors import UsageError, nearest_name

if TYPE_CHECKING:
    from leakbench.runtime.download.resource import Resource

_HELP = """Download data sets and pretrained weights, for machines that then work offline.

\b
Examples:
  leakbench fetch weights                 all weights
  leakbench fetch weights:inception       one of them
  leakbench fetch cifar10 weights:sscd
  leakbench fetch --list                  what there is, how large, and whether it is here
"""


@app.command(help=_HELP)
def fetch(
    what: Annotated[list[str] | None, typer.Argument(help="weights, weights:NAME, or a data set's name.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List what there is, and stop.")] = False,
) -> None:
    if list_:
        return _list()
    if not what:
        raise UsageError(
            "fetch: say what: weights, weights:NAME or a data set's name; `leakbench fetch --list` lists them"
        )
    jobs = [job for word in what for job in _jobs(word)]
    failed = False
    for job in jobs:
        try:
            for line in job():
                print(line)
        except UsageError as error:  # the others may be had
            print(f"leakbench: {error}", file=sys.stderr)
            failed = True
    if failed:
        raise typer.Exit(2)


def _jobs(word: str) -> list[Callable[[], Iterator[str]]]:
    """The downloads that one word asks for. Raises UsageError for an unknown word, before anything is downloaded."""
    from leakbench.metrics.weights.resources import WEIGHTS
    from leakbench.runtime import registry

    kind, _, name = word.partition(":")
    if kind != "weights":
        load = registry.dataset(word, "fetch")
        return [lambda: _data(word, load)]
    if name and name not in WEIGHTS:
        raise UsageError(f"fetch {word}: unknown weights {name!r}; {nearest_name(name, WEIGHTS)}")
    wanted = [WEIGHTS[name]] if name else list(WEIGHTS.values())
    return [lambda resource=resource: _weights(resource) for resource in wanted]  # type: ignore[misc]


def _weights(resource: Resource) -> Iterator[str]:
    from leakbench.metrics.weights.resources import weights_folder
    from leakbench.runtime.download.resource import fetch

    yield _line(resource, fetch(resource, weights_folder()))


def _data(word: str, load: Callable[[], object]) -> Iterator[str]:
    """A data set is fetched by being loaded once; then it also is as quick to load as it will be."""
    from leakbench.runtime.download.resource import record_fetches

    with record_fetches() as files:
        data = load()
    yield from (_line(resource, path) for resource, path in files)
    count, height, width, channels = data.images.shape  # type: ignore[attr-defined]
    yield f"{word}: {count:,} images, {height}x{width}, {channels} channels"


def _line(resource: Resource, path: Path) -> str:
    from leakbench.runtime.download.checksum import file_sha256
    from leakbench.runtime.download.http import format_bytes

    return f"{resource.name}: {path} ({format_bytes(path.stat().st_size)}, sha256 {file_sha256(path)})"


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from leakbench.metrics.weights.resources import USES, WEIGHTS, at_hand
    from leakbench.runtime import registry
    from leakbench.runtime.download.http import format_bytes
    from leakbench.runtime.download.resource import downloads_folder

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "size", "here", "what"):
        table.add_column(heading, overflow="fold")
    for name, resource in WEIGHTS.items():
        words = f"for {USES[name]}"
        table.add_row(
            f"weights:{name}", f"about {format_bytes(resource.bytes or 0)}", str(at_hand(resource) or "no"), words
        )
    for name, load in registry.load_all("datasets"):
        folder = downloads_folder() / name
        held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
        table.add_row(
            name, format_bytes(held) if held else "", str(folder) if held else "", (load.__doc__ or "").splitlines()[0]
        )
    Console().print(table)

"""One file over HTTP, from where an earlier attempt stopped. The standard library is enough.

What is there is kept and the rest asked for by a Range request (RFC 9110, section 14), on the condition that the file
has not changed at its publisher since; a server that has no ranges, or another file by now, starts again. Choices of
ours: a cut connection is taken up again, eight times at most; a server may be silent for 30 seconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from email.utils import formatdate
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from leakbench.runtime.errors import UsageError

Progress = Callable[[int, int | None], None]
"""Told the bytes that are here and the bytes that there will be, None where nobody says."""

_CHUNK = 1 << 20
_TRIES = 8
_SILENCE = 30.0  # seconds


def size(count: int) -> str:
    """Bytes as people read them: `98.6 MB`."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


class StderrProgress:
    """Progress on stderr: a line that is written over on a terminal, else one line at the start."""

    def __init__(self, file: str, folder: Path) -> None:
        self.words, self.percent = f"leakbench: downloading {file} into {folder}", -1

    def __call__(self, here: int, total: int | None) -> None:
        """Say how far it is, at every percent that is new."""
        percent, begun = 100 * here // total if total else 0, self.percent >= 0
        if percent == self.percent or (begun and not sys.stderr.isatty()):
            return
        self.percent = percent
        of = f" ({size(total)})" if total else ""
        if not sys.stderr.isatty():
            print(f"{self.words}{of}", file=sys.stderr)
        else:
            print(f"\r{self.words}{of}: {percent} %", end="\n" if here == total else "", file=sys.stderr, flush=True)


class DownloadError(Exception):
    """A file could not be had from an address; the message says why, in a few words."""


def receive(url: str, file: IO[bytes], progress: Progress) -> None:
    """Append to a file, open for appending, what it lacks of what lies at an address.

    Raises DownloadError, and leaves what came so far; UsageError when the file cannot be written.
    """
    for _ in range(_TRIES):
        if _attempt(url, file, progress):
            return
    raise DownloadError(f"the connection broke off {_TRIES} times")


def _attempt(url: str, file: IO[bytes], progress: Progress) -> bool:
    """One request. Whether the file is whole now."""
    here = file.seek(0, os.SEEK_END)
    try:
        with urlopen(Request(url, headers=_headers(file, here)), timeout=_SILENCE) as response:
            return _take(response, file, here, progress)
    except HTTPError as error:
        if not here or error.code not in (412, 416):  # changed since; nothing there beyond what is here
            raise DownloadError(f"HTTP {error.code} {error.reason}") from None
        if error.headers.get("Content-Range") == f"bytes */{here}":
            return True
        file.truncate(0)
        return False
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(_words(error)) from None


def _words(error: Exception) -> str:
    """What went wrong, on one line, without numbers that nobody knows by heart."""
    cause = getattr(error, "reason", error)
    return " ".join(str(getattr(cause, "strerror", None) or cause or type(error).__name__).split())


def _headers(file: IO[bytes], here: int) -> dict[str, str]:
    headers = {"User-Agent": f"leakbench/{version('leakbench')}", "Accept-Encoding": "identity"}
    if here:
        began = formatdate(os.fstat(file.fileno()).st_mtime, usegmt=True)
        headers |= {"Range": f"bytes={here}-", "If-Unmodified-Since": began}
    return headers


def _take(response: IO[bytes], file: IO[bytes], here: int, progress: Progress) -> bool:
    """Write a response's body behind the first `here` bytes, or instead of them. Whether all of it came."""
    headers = response.headers  # type: ignore[attr-defined]
    if here and not str(headers.get("Content-Range", "")).startswith(f"bytes {here}-"):
        file.truncate(0)
        here = 0
    length = headers.get("Content-Length")
    total = None if length is None else here + int(length)
    try:
        while chunk := response.read(_CHUNK):
            _write(file, chunk)
            here += len(chunk)
            progress(here, total)
    except (OSError, HTTPException):
        return False
    return total is None or here >= total


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
        file.flush()
    except OSError as error:
        raise UsageError(f"{file.name}: cannot be written to ({error.strerror})") from None

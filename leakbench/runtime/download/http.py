"""Receives one file over HTTP, from where an earlier attempt stopped. The standard library is enough.

What is on disk is kept and the rest asked for by a Range request (RFC 9110, section 14), on condition that the file has
not changed at its publisher since; a server that knows no ranges, or has another file by now, starts again. Choices of
ours: a broken connection is taken up again, eight times at most; a server may be silent for 30 seconds.
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
"""Called with the bytes received and the bytes in all, None where the server does not say."""

_CHUNK = 1 << 20
_ATTEMPTS = 8
_TIMEOUT = 30.0  # seconds without a byte


class DownloadError(Exception):
    """An address does not give the file; the message says why, in a few words."""


class StderrProgress:
    """Progress on stderr: a line that is written over on a terminal, else one line at the start."""

    def __init__(self, file: str, folder: Path) -> None:
        self.words, self.percent = f"leakbench: downloading {file} into {folder}", -1

    def __call__(self, received: int, total: int | None) -> None:
        """Print the share received, once a percent."""
        percent, begun = 100 * received // total if total else 0, self.percent >= 0
        if percent == self.percent or (begun and not sys.stderr.isatty()):
            return
        self.percent = percent
        of = f" ({format_bytes(total)})" if total else ""
        if not sys.stderr.isatty():
            print(f"{self.words}{of}", file=sys.stderr)
        else:
            end = "\n" if received == total else ""
            print(f"\r{self.words}{of}: {percent} %", end=end, file=sys.stderr, flush=True)


def format_bytes(count: int) -> str:
    """A number of bytes for people: `98.6 MB`."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def receive(url: str, file: IO[bytes], progress: Progress) -> None:
    """Append to a file, open for appending, what it lacks of the file at an address.

    Raises DownloadError, and leaves what came so far; UsageError when the file cannot be written.
    """
    for _ in range(_ATTEMPTS):
        if _request(url, file, progress):
            return
    raise DownloadError(f"the connection broke off {_ATTEMPTS} times")


def _request(url: str, file: IO[bytes], progress: Progress) -> bool:
    """Make one request. Returns True if the file is whole now."""
    received = file.seek(0, os.SEEK_END)
    try:
        with urlopen(Request(url, headers=_build_headers(file, received)), timeout=_TIMEOUT) as response:
            return _write_body(response, file, received, progress)
    except HTTPError as error:
        if not received or error.code not in (412, 416):  # changed since; nothing there beyond what is here
            raise DownloadError(f"HTTP {error.code} {error.reason}") from None
        if error.headers.get("Content-Range") == f"bytes */{received}":
            return True
        file.truncate(0)
        return False
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(_format_cause(error)) from None


def _format_cause(error: Exception) -> str:
    """The cause of a failed request on one line, without an errno."""
    cause = getattr(error, "reason", error)
    return " ".join(str(getattr(cause, "strerror", None) or cause or type(error).__name__).split())


def _build_headers(file: IO[bytes], received: int) -> dict[str, str]:
    headers = {"User-Agent": f"leakbench/{version('leakbench')}", "Accept-Encoding": "identity"}
    if received:
        began = formatdate(os.fstat(file.fileno()).st_mtime, usegmt=True)
        headers |= {"Range": f"bytes={received}-", "If-Unmodified-Since": began}
    return headers


def _write_body(response: IO[bytes], file: IO[bytes], received: int, progress: Progress) -> bool:
    """Write a response's body behind the bytes received before, or instead of them. Returns True if all of it came."""
    headers = response.headers  # type: ignore[attr-defined]
    if received and not str(headers.get("Content-Range", "")).startswith(f"bytes {received}-"):
        file.truncate(0)
        received = 0
    length = headers.get("Content-Length")
    total = None if length is None else received + int(length)
    try:
        while chunk := response.read(_CHUNK):
            _write(file, chunk)
            received += len(chunk)
            progress(received, total)
    except (OSError, HTTPException):
        return False
    return total is None or received >= total


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
        file.flush()
    except OSError as error:
        raise UsageError(f"{file.name}: cannot be written to ({error.strerror})") from None

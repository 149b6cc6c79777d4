"""One HTTP request, with a deadline for all of it and a limit to its reply's size.

By the standard library: http.client follows no redirect, reads no proxy from the environment, opens no other scheme
than the one it is made for, and keeps nothing. That is what is wanted here; a client library would have to be told to
leave each of these off.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

MOST_BYTES = 2**26  # of a reply: 64 MiB
LONGEST_CONNECTING = 10.0  # seconds for each step of it; a host that is there takes less, however slowly it answers
_PIECE = 2**16


@dataclass(frozen=True)
class Reply:
    """status: of HTTP. kind: of the content, in lower case. headers: by lower-case name."""

    status: int
    kind: str
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Broken(Exception):
    """A reply that ended too early, took too long or is too large, in words."""


class NotReached(Exception):
    """There is no connection, in words: nothing of the request was sent."""


def send(method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
    """The reply to a request, redirects among them; `timeout` in seconds, from the moment that it is connected.

    Raises NotReached before anything was sent, and after that Broken, OSError and http.client.HTTPException.
    """
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    line = _open(parts, min(timeout, LONGEST_CONNECTING))
    try:
        _connect(line)
        line.sock.settimeout(timeout)
        with _deadline(line.sock, timeout):
            line.request(method, path, body, {"Connection": "close", "User-Agent": "leakbench", **headers})
            answer = line.getresponse()
            data = _read(answer)
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, found.get("content-type", "").partition(";")[0].strip().lower(), data, found)
    finally:
        line.close()


def _open(parts: SplitResult, timeout: float) -> http.client.HTTPConnection:
    host = str(parts.hostname)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, parts.port, timeout=timeout)


def _connect(line: http.client.HTTPConnection) -> None:
    try:
        line.connect()
    except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError of a name that no host can have
        raise NotReached(getattr(error, "strerror", None) or str(error)) from error


@contextmanager
def _deadline(connection: socket.socket, timeout: float) -> Iterator[None]:
    """Cut the connection after so many seconds, however slowly it sends; raise TimeoutError then."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    clock = threading.Timer(timeout, cut)
    clock.daemon = True
    clock.start()
    try:
        yield
    except (OSError, http.client.HTTPException, Broken) as error:
        if late.is_set():
            raise TimeoutError from error
        raise
    finally:
        clock.cancel()
    if late.is_set():
        raise TimeoutError


def _read(answer: http.client.HTTPResponse) -> bytes:
    expected, pieces, size = answer.length, list[bytes](), 0
    while piece := answer.read1(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise Broken(f"more than {MOST_BYTES >> 20} MiB")
    if expected is not None and size < expected:
        raise Broken(f"{size} of {expected} bytes, and then the connection ended")
    return b"".join(pieces)

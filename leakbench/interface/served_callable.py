"""A function of somebody's own as a hosted model: it is served on this computer while an audit runs.

    def draw(prompt, seed, image):   # image: uint8 (H, W) or (H, W, 3), or None
        return ...                   # uint8 or floats in [0, 1], (H, W), (H, W, 3) or (3, H, W); a tensor; a PIL image

    leakbench.audit(draw, "members", "nonmembers")

Workers ask it as they ask any endpoint, at an address of this computer that takes a token, so that it need not be
copied into them, is called from one thread alone, and is counted and kept like any other. One that has a parameter
`strength` is told that as well.

A function is known by its code and by what it answers, twice alike, to no words and seed 0: another model behind the
same code is another one. Where it answers that differently each time, or not at all, its attribute `version` tells
models apart.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import io
import json
import os
import secrets
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Any

from leakbench.models.hosted.endpoint import CALLABLE, RAISED, SERVED, SERVED_TOKEN
from leakbench.runtime.errors import UsageError, in_a_line

_MOST_BYTES = 2**28  # of a request
_HOST = "127.0.0.1"


@contextmanager
def serve_callable(model: Any) -> Iterator[str | None]:
    """Serve a model inside if it is a function, and hand out the name of its endpoint; None where it is none.

    Raises UsageError where one is served already.
    """
    if not callable(model) or hasattr(model, "save_pretrained") or hasattr(model, "state_dict"):  # a bare network
        yield None
        return
    if SERVED in os.environ:
        raise UsageError("model: a function is audited in this process already: audit one after the other")
    name, token = _name_of(model), secrets.token_urlsafe(32)
    server = _Server((_HOST, 0), _make_handler(model, token))
    told = {"name": name, "url": f"http://{_HOST}:{server.server_address[1]}/", "strength": _takes_strength(model)}
    os.environ |= {SERVED: json.dumps(told), SERVED_TOKEN: token}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"{CALLABLE}{name}"
    finally:
        del os.environ[SERVED], os.environ[SERVED_TOKEN]
        server.shutdown()
        server.server_close()


class _Server(TCPServer):
    """No HTTPServer, which looks up this computer's name: that can take long without a network."""

    request_queue_size = 64


def _takes_strength(model: Callable[..., Any]) -> bool:
    try:
        return "strength" in inspect.signature(model).parameters
    except (TypeError, ValueError):
        return False


def _name_of(model: Callable[..., Any]) -> str:
    """Its own name and a digest that tells it from others."""
    kind = model if hasattr(model, "__qualname__") else type(model)
    try:
        code = inspect.getsource(kind)
    except (OSError, TypeError):
        code = ""
    known = [kind.__module__, kind.__qualname__, code, str(getattr(model, "version", "")), _answer_of(model)]
    digest = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
    shown = "".join(letter if letter.isalnum() else "_" for letter in kind.__name__).strip("_") or "function"
    return f"{shown}-{digest}"


def _answer_of(model: Callable[..., Any]) -> str:
    """Digest of what it answers to no words and seed 0; "" where that is not the same twice."""
    try:
        first, again = (hashlib.sha256(_to_png(model("", 0, None))).hexdigest() for _ in range(2))
    except Exception:  # it may want words; it is asked with them later, and heard then
        return ""
    return first if first == again else ""


def _make_handler(model: Callable[..., Any], token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Answer one question by a PNG; by a status and words where the function raises."""
            if not secrets.compare_digest(self.headers.get("Authorization", ""), f"Bearer {token}"):
                self._reply(403, "text/plain", b"")
                return
            size = int(self.headers.get("Content-Length", 0))
            if size > _MOST_BYTES:
                self._reply(413, "text/plain", b"")
                return
            asked = json.loads(self.rfile.read(size))
            more = {"strength": asked["strength"]} if "strength" in asked else {}
            try:
                image = _to_array(asked["image"]) if "image" in asked else None
                answer = _to_png(model(asked["prompt"], asked["seed"], image, **more))
            except Exception as error:
                self._reply(RAISED, "text/plain", f"{in_a_line(error)}{_place(model, error)}".encode())
                return
            self._reply(200, "image/png", answer)

        def _reply(self, status: int, kind: str, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *said: Any) -> None:
            """Say nothing."""

    return Handler


def _place(model: Callable[..., Any], error: Exception) -> str:
    """The last line of the function's own file that an error went through, ", line 7 of mine.py"."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(model)) or ""
    except TypeError:
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f", line {lines[-1]} of {os.path.basename(file)}" if lines else ""


def _to_array(text: str) -> Any:
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]))


def _to_png(answer: Any) -> bytes:
    """A PNG of an image that a function answered. Raises UsageError for what is none."""
    import numpy as np

    from leakbench.models.hosted.wire import to_png

    array = np.asarray(answer.detach().cpu() if hasattr(answer, "detach") else answer)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = np.moveaxis(array, 0, 2)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3) or array.dtype.kind not in "fiu" or not array.size:
        raise UsageError(f"the function answered {type(answer).__name__} {array.shape} of {array.dtype}: no image")
    most = 1 if array.dtype.kind == "f" else 255
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= most):
        raise UsageError(
            f"the function answered values from {array.min():g} to {array.max():g}: 0 to {most} are wanted"
        )
    return to_png(np.rint(array * (255 / most)).astype(np.uint8))

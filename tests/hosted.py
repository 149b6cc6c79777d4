"""A hosted model for tests: a server in a thread of this process, which answers as a function says."""

from __future__ import annotations

import base64
import io
import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

import numpy as np
from PIL import Image


def png(levels):
    """The PNG of levels uint8 (H, W) or (H, W, 3)."""
    written = io.BytesIO()
    Image.fromarray(levels).save(written, "PNG")
    return written.getvalue()


def levels_of(asked):
    """The image of a question that was sent, uint8; None where it has none."""
    if "image" not in asked:
        return None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(asked["image"]))))


def noise(asked, size=8):
    """An answer that follows from the seed alone."""
    return np.random.default_rng(asked["seed"]).integers(0, 256, (size, size), dtype=np.uint8)


class Server:
    """asked: the questions, in order. headers: those of each. url: where it is asked."""

    def __init__(self, respond):
        self.asked, self.headers, self.respond = [], [], respond
        outer, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.asked.append(asked)
                    outer.headers.append(dict(self.headers))
                    number = len(outer.asked)
                status, headers, data = outer.respond(asked, number)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):  # whoever asked has gone
                    self.wfile.write(data)

            def log_message(self, *said):
                pass

        class Threads(ThreadingTCPServer):
            daemon_threads, request_queue_size = True, 64

        self.server = Threads(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/generate"


@contextmanager
def serving(respond=lambda asked, number: (200, {"Content-Type": "image/png"}, png(noise(asked)))):
    """Serve inside. respond(asked, number): status, headers and bytes; number counts from 1."""
    server = Server(respond)
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()

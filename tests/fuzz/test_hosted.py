"""Endpoint files that people write, and what a service answers."""

from __future__ import annotations

import base64
import io
import json
import tomllib

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from leakbench.data.answered_image import WrongImage, read_image
from leakbench.models.hosted.endpoint import Endpoint, read_endpoint
from leakbench.models.hosted.http import Reply
from leakbench.models.hosted.question import Question
from leakbench.models.hosted.wire import WrongReply, build_request, read_reply
from leakbench.runtime.errors import UsageError

FILE = """
url = "http://127.0.0.1:8000/generate?version=3"
method = "POST"
headers = { Accept = "application/json" }
answer = "data.0.image"
price = 0.04
calls_per_minute = 60
most_calls = 5000

[body]
prompt = "a photo, {prompt}"
options = { seed = "{seed}", image = "{image}", steps = [30, "{strength}"] }
"""


def test_any_endpoint_file_makes_a_request_or_is_refused(fuzzed, mutations, tmp_path):
    path, table = tmp_path / "service.toml", tomllib.loads(FILE)
    image = np.zeros((2, 2, 1), np.uint8)

    def read(data):
        path.write_bytes(data)
        endpoint = read_endpoint(str(path))
        for question in (Question("a", 1), Question("b", 2, image, 0.5)):
            request = build_request(endpoint, question)
            request.url.encode("ascii")
            for name, value in request.headers.items():
                f"{name}: {value}".encode("latin-1")
        assert endpoint.key and endpoint.name.isprintable()

    edited = mutations.edited(table).map(lambda one: mutations.to_toml(one).encode("utf-8", "replace"))
    fuzzed(st.one_of(edited, edited, mutations.damaged_text(FILE)), read, names=[str(path), "endpoint "])


def _answers(mutations):
    """Replies as a service could give them: JSON changed, text damaged, images damaged."""
    written = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(written, "PNG")
    picture = written.getvalue()
    table = {"data": [{"image": base64.b64encode(picture).decode()}], "id": 3}
    text = mutations.edited(table).map(lambda one: json.dumps(one, default=str).encode("utf-8", "replace"))
    cut = st.builds(
        lambda a, b, c: picture[:a] + bytes([b]) + picture[c:],
        st.integers(0, 90),
        st.integers(0, 255),
        st.integers(0, 90),
    )
    return st.one_of(
        st.tuples(st.just("application/json"), text),
        st.tuples(st.just("application/json"), mutations.damaged_text(json.dumps(table))),
        st.tuples(st.sampled_from(["image/png", "text/html", ""]), cut),
        st.tuples(st.just("image/png"), st.binary(max_size=200)),
    )


def test_any_answer_is_an_image_or_a_fault_in_words(fuzzed, mutations):
    endpoint = Endpoint(url="http://127.0.0.1/x", answer="data.0.image")

    def read(case):
        kind, data = case
        try:
            levels = read_image(read_reply(endpoint, Reply(200, kind, data)), (1, 8, 8))
        except (WrongReply, WrongImage) as wrong:
            raise UsageError(str(wrong)) from None
        assert levels.shape == (8, 8, 1) and levels.dtype == np.uint8

    fuzzed(_answers(mutations), read)

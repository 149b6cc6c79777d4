"""From a question to the request that an endpoint takes, and from its reply to the bytes of an image."""

from __future__ import annotations

import base64
import binascii
import io
import json
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import numpy as np

from leakbench.models.hosted.endpoint import PLACE, Endpoint
from leakbench.models.hosted.http import Reply
from leakbench.models.hosted.question import Question
from leakbench.models.hosted.secrets import put_in
from leakbench.runtime.errors import to_printable

_NOTHING = object()  # an entry that is left out


class Request(NamedTuple):
    """An HTTP request: the whole address, with its query."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None


class WrongReply(Exception):
    """Why a reply holds no image, in words."""


def build_request(endpoint: Endpoint, question: Question) -> Request:
    """The request of a question, secrets put in. Raises UsageError for a secret that is not set."""
    values: dict[str, Any] = {"prompt": question.prompt, "seed": question.seed, "strength": question.strength}
    values["image"] = None if question.image is None else base64.b64encode(to_png(question.image)).decode()
    body, where = _fill(endpoint.body, values), f"endpoint {endpoint.name}"
    url = put_in(endpoint.url, where)
    headers = {name: put_in(value, f"{where}: header {name}") for name, value in endpoint.headers.items()}
    if endpoint.method == "GET":
        return Request("GET", url + ("&" if urlsplit(url).query else "?") + urlencode(body), headers, None)
    return Request(endpoint.method, url, {"Content-Type": "application/json"} | headers, json.dumps(body).encode())


def read_reply(endpoint: Endpoint, reply: Reply) -> bytes:
    """The bytes of the image in a reply. Raises WrongReply."""
    if reply.kind.startswith("image/"):
        return reply.data
    try:
        found: Any = json.loads(reply.data)
    except (ValueError, RecursionError):
        kind = to_printable(reply.kind) or "nothing of its kind"
        raise WrongReply(f"neither an image nor JSON ({len(reply.data)} bytes, said to be {kind})") from None
    for step in endpoint.answer.split("."):
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            raise WrongReply(f"JSON without answer = {endpoint.answer!r}: there is no {step!r}{_keys(endpoint, found)}")
    return _decode_text(endpoint, found)


def _decode_text(endpoint: Endpoint, found: Any) -> bytes:
    where = f"answer = {endpoint.answer!r}"
    if not isinstance(found, str):
        raise WrongReply(f"JSON whose {where} is {type(found).__name__}, and not an image in base64")
    if found[:8].lower().startswith(("http://", "https://", "file:")):
        raise WrongReply(f"JSON whose {where} is an address, which is not followed: have it answer base64")
    text = found.partition("base64,")[2] if found.startswith("data:") else found
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise WrongReply(f"JSON whose {where} is not base64") from None


def _keys(endpoint: Endpoint, found: Any) -> str:
    """The keys that there are, in words."""
    if not isinstance(found, dict) or not found:
        return ""
    shown = ", ".join(to_printable(endpoint.cut_out(str(key)))[:40] for key in list(found)[:8])
    return f"; its keys are {shown}"


def _fill(template: Any, values: dict[str, Any]) -> Any:
    """A template with its places filled; an entry of a place without a value is left out."""
    if isinstance(template, dict):
        filled = {key: _fill(value, values) for key, value in template.items()}
        return {key: value for key, value in filled.items() if value is not _NOTHING}
    if isinstance(template, list):
        return [one for one in (_fill(value, values) for value in template) if one is not _NOTHING]
    if not isinstance(template, str):
        return template
    named = PLACE.findall(template)
    if any(values[name] is None for name in named):
        return _NOTHING
    if named and template == f"{{{named[0]}}}":
        return values[named[0]]
    return PLACE.sub(lambda found: str(values[found[1]]), template)


def to_png(levels: np.ndarray) -> bytes:
    """A PNG of levels uint8 (H, W, 1 or 3)."""
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(written, "PNG")
    return written.getvalue()

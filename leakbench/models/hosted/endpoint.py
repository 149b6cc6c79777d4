"""Description of the endpoint of a hosted model: a URL, or a TOML file.

    url = "https://api.example.com/v1/images"
    headers = { Authorization = "Bearer ${EXAMPLE_TOKEN}" }
    body = { prompt = "{prompt}", seed = "{seed}", image = "{image}", steps = 30 }
    answer = "data.0.b64_json"
    price = 0.04
    calls_per_minute = 60
    most_money = 20

`body` is a template: {prompt}, {seed}, {image} (a PNG in base64) and {strength} (0 to 1) stand for what is asked. An
entry that names what a question has not is left out of that request. A bare URL is asked by POST for
{"prompt": ..., "seed": ..., "image": ...}, and answers the bytes of an image, or JSON with base64 under "image".

Secrets stand in no file: `${NAME}` in headers and url is an environment variable, put in when a request is sent.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from leakbench.models.hosted.secrets import cut_out, find_variables, put_in
from leakbench.runtime.cache.keys import compute_key
from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path
from leakbench.runtime.toml_file import read_toml, validate

PLACES = ("prompt", "seed", "image", "strength")
PLACE = re.compile(r"\{(" + "|".join(PLACES) + r")\}")
CALLABLE = "callable:"  # begins the name of a callable that this process serves
SERVED = "LEAKBENCH_CALLABLE"  # environment variable: the callable that is served, as JSON
RAISED = 422  # status of a served callable that raised
SERVED_TOKEN = "LEAKBENCH_CALLABLE_TOKEN"  # noqa: S105  # the name of a variable

_SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"}
_OURS = {"host", "connection", "content-length", "transfer-encoding"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Endpoint(BaseModel):
    """Endpoint of a hosted model. price: of one call, in whatever currency its limits are meant. timeout: seconds that
    a request may take. version: a word for the model behind the address; another one asks everything anew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    method: Literal["POST", "PUT", "GET"] = "POST"
    headers: dict[str, str] = Field(default_factory=dict)
    body: dict[str, Any] = Field(default_factory=lambda: {name: f"{{{name}}}" for name in PLACES[:3]})
    answer: str = Field("image", min_length=1)
    version: str = ""
    price: float = Field(0.0, ge=0, allow_inf_nan=False)
    calls_per_minute: float | None = Field(None, gt=0, allow_inf_nan=False)
    most_calls: int | None = Field(None, ge=1)
    most_money: float | None = Field(None, gt=0, allow_inf_nan=False)
    timeout: float = Field(120.0, gt=0, le=3600)

    @model_validator(mode="after")
    def _address(self) -> Self:
        try:
            parts = urlsplit(self.url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            known = False
        if not known or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            raise _wrong("an address that begins with http:// or https://, in `url`")
        if parts.username or parts.password:
            raise _wrong("an address without user and password: put them into headers, as ${NAME}")
        secret = find_variables(self.url, *self.headers.values())
        if secret and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise _wrong("https://, as a secret travels with each request")
        return self

    @model_validator(mode="after")
    def _headers(self) -> Self:
        for name, value in self.headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not (value.isascii() and value.isprintable()):
                raise _wrong("a header in one line: a name of letters, digits and '-', and a printable value in ASCII")
            if name.lower() in _OURS:
                raise _wrong(f"no header {name}, which leakbench writes itself")
            if name.lower() in _SECRET_HEADERS and not find_variables(value):
                raise PydanticCustomError(
                    "secret",
                    'no secret: write {name} = "... {variable}", where NAME is an environment variable',
                    {"name": name, "variable": "${NAME}"},
                )
        return self

    @model_validator(mode="after")
    def _template(self) -> Self:
        try:
            json.dumps(self.body, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise _wrong("a body of what JSON has: texts, numbers, true and false, lists and tables") from None
        if not self.takes("prompt") and not self.takes("image"):
            unknown = sorted(set(re.findall(r"\{\w+\}", json.dumps(self.body))) - {f"{{{name}}}" for name in PLACES})
            beside = f"; {unknown[0]} is neither" if unknown else ""
            raise _wrong('a body that asks something: "{prompt}", "{image}" or both' + beside)
        if self.method == "GET":
            flat = all(isinstance(value, str | int | float | bool) for value in self.body.values())
            if not flat or self.takes("image"):
                raise _wrong("POST or PUT: a GET has no room for an image, nor for a table in a table")
        return self

    @model_validator(mode="after")
    def _budget(self) -> Self:
        if self.most_money is not None and not self.price:
            raise _wrong("most_money beside a `price` of one call, by which it is counted")
        return self

    def takes(self, place: str) -> bool:
        """Tell whether the body holds a place: "prompt", "seed", "image" or "strength"."""
        return place in PLACE.findall(json.dumps(self.body, ensure_ascii=False))

    def check_secrets(self) -> None:
        """Raise UsageError for an environment variable that is named and not set."""
        for text in (self.url, *self.headers.values()):
            put_in(text, f"endpoint {self.name}")

    def cut_out(self, message: str) -> str:
        """A message in which none of its secrets can be read; before the message is cut to a length."""
        return cut_out(message, self.url, *self.headers.values())

    @property
    def name(self) -> str:
        """Host and path, which hold no secret."""
        parts = urlsplit(self.url)
        return re.sub(r"\$\{\w+\}", "...", parts.netloc + parts.path.rstrip("/"))

    @property
    def key(self) -> str:
        """Key of all on which an answer depends; not the price, nor any limit."""
        asked = self.model_dump(include={"url", "method", "headers", "body", "answer", "version"})
        return compute_key(**asked)


class ServedCallable(Endpoint):
    """A callable of this computer's, known by a name in place of its address, which is another in every run."""

    callable_name: str

    @property
    def name(self) -> str:
        """The callable's."""
        return self.callable_name.rpartition("-")[0]

    @property
    def key(self) -> str:
        """By its name."""
        return compute_key(callable=self.callable_name)


def read_endpoint(given: str) -> Endpoint:
    """The endpoint that a URL, a TOML file or the name of a served callable means. Raises UsageError."""
    if given.startswith(CALLABLE):
        return _read_served(given.removeprefix(CALLABLE))
    if "://" not in given:
        found: Endpoint = validate(Endpoint, read_toml(user_path(given)), str(user_path(given)))
        return found
    parts = given.partition("://")[2]
    if "?" in parts or "@" in parts or "#" in parts:
        raise UsageError(
            f"endpoint {_host_of(given)}: an address with '?', '#' or '@' can hold a secret, and what is typed is kept "
            "in the records: write it as `url` into a TOML file, and give that"
        )
    bare: Endpoint = validate(Endpoint, {"url": given}, "endpoint")
    return bare


def endpoint_title(given: str) -> str:
    """Short name of an endpoint for folders and titles: its file's, or its host's."""
    return read_endpoint(given).name if "://" in given or given.startswith(CALLABLE) else Path(given).stem


def _read_served(name: str) -> Endpoint:
    served = json.loads(os.environ.get(SERVED, "{}"))
    if served.get("name") != name:
        raise UsageError(f"endpoint {CALLABLE}{name}: a callable can be asked only while leakbench.audit runs")
    body = {place: f"{{{place}}}" for place in (PLACES if served["strength"] else PLACES[:3])}
    headers = {"Authorization": f"Bearer ${{{SERVED_TOKEN}}}"}
    return ServedCallable(url=served["url"], headers=headers, body=body, callable_name=name, timeout=3600)


def _host_of(given: str) -> str:
    """What of an address is certain to hold no secret."""
    try:
        return urlsplit(given).hostname or "?"
    except ValueError:
        return "?"


def _wrong(words: str) -> PydanticCustomError:
    return PydanticCustomError("endpoint", "{words}", {"words": words})

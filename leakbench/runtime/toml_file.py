"""TOML files as checked models, with errors that name the file, the key, the value and what would be right."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from leakbench.runtime.errors import UsageError, nearest_name, to_printable

_LONGEST = 200  # characters of a wrong value in an error


def read_toml(path: Path) -> dict[str, Any]:
    """The table of a TOML file. Raises UsageError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # of TOML, of UTF-8, or of a number with thousands of digits
        raise UsageError(f"{path}: not a TOML file: {error}") from None
    except RecursionError:
        raise UsageError(f"{path}: not a TOML file: it is nested too deeply") from None


def validate(model: type[BaseModel], table: dict[str, Any], where: str) -> Any:
    """The model of a table. Raises UsageError that begins with `where` and names the first wrong key."""
    try:
        return model.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = to_printable(".".join(map(str, first["loc"])))
        if first["type"] == "extra_forbidden":
            known = nearest_name(str(first["loc"][-1]), _keys(model, first["loc"]))
            raise UsageError(f"{where}: unknown key {_shorten(key)}; {known}") from None
        if first["type"] == "missing":
            raise UsageError(f"{where}: key {key!r} is missing") from None
        message = first["msg"]
        for words in ("Input should be ", "Value should be ", "Value error, "):
            message = message.removeprefix(words)
        if "dictionary" in message:  # pydantic names the class, which no user knows
            message = f"a table: write [{key}]"
        given = f"{key} = {_shorten(first['input'])}: " if key else ""  # of a table as a whole there is no one value
        raise UsageError(f"{where}: {given}it should be {message}") from None


def _shorten(value: object) -> str:
    """A value as Python writes it, cut where nobody would read on."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The valid keys of the table that a location points into."""
    for step in location[:-1]:
        inner = model.model_fields[str(step)].annotation if str(step) in model.model_fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return list(model.model_fields)

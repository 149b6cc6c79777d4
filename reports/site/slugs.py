"""File names for pages, made of names that anybody may have chosen."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata

_LONGEST = 48


def make_slug(words: str, *identity: str) -> str:
    """A file name without ending: the letters and digits of `words` as far as they are plain, and a digest of
    `identity`, which keeps apart what reads alike. It holds no separator, no dot and nothing but ASCII."""
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode().lower()
    readable = re.sub(r"[^a-z0-9]+", "-", plain)[:_LONGEST].strip("-")
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]
    return f"{readable}-{digest}" if readable else digest

"""A Jupyter notebook as Markdown, with the outputs that it was saved with."""

from __future__ import annotations

import json
import re
from typing import Any


def to_markdown(notebook: str) -> str:
    """Markdown of an .ipynb file's text: code as Python blocks, outputs as tables, pictures or plain text."""
    return "\n\n".join(part for cell in json.loads(notebook)["cells"] for part in _cell(cell))


def _cell(cell: dict[str, Any]) -> list[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return [source]
    return [f"```python\n{source}\n```", *(_output(output) for output in cell["outputs"])]


def _output(output: dict[str, Any]) -> str:
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
    if "image/png" in data:
        return f"![Output](data:image/png;base64,{data['image/png'].strip()})"
    if "text/html" in data:
        return re.sub(r"<style.*?</style>\n", "", data["text/html"], flags=re.DOTALL)
    text = "".join(output.get("text", "")) or data["text/plain"]
    return f"```text\n{text.rstrip()}\n```"

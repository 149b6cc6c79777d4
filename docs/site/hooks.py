"""Hooks of mkdocs: which pages the site has besides docs/*.md, and that it needs no network."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from links import TOP, links, page_of, space_lists, turn_links  # noqa: E402
from notebook import to_markdown  # noqa: E402
from reference import pages  # noqa: E402

NOTEBOOK = "docs/audit.ipynb"
SHIM, SHIM_HERE = "https://unpkg.com/iframe-worker/shim", "assets/iframe_worker.js"  # for the search without a server
LANGUAGES = {".py": "python", ".toml": "toml", ".yml": "yaml", ".json": "json"}
REMOTE = re.compile(
    r"<(?:script|img|iframe|source)[^>]+src=[\"']?(?:https?:)?//|<link[^>]+rel=[\"']?stylesheet[^>]+https?://"
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds README and its like, the notebook, the reference, and the code that pages link to."""
    texts = {name: (ROOT / name).read_text() for name in TOP} | {NOTEBOOK: to_markdown((ROOT / NOTEBOOK).read_text())}
    written = {page_of(name): turn_links(text, str(Path(name).parent), page_of(name)) for name, text in texts.items()}
    texts |= {f"docs/{page.src_uri}": page.content_string for page in files.documentation_pages()}
    targets = set[str]().union(*(links(text, str(Path(name).parent)) for name, text in texts.items()))
    code = {target for target in targets if page_of(target).startswith("source/") and (ROOT / target).exists()}
    code |= {str(path.relative_to(ROOT)) for folder in code for path in (ROOT / folder).glob("*.*") if path.is_file()}
    written |= {page_of(target): source_page(target) for target in code}
    written |= pages() | {SHIM_HERE: (ROOT / "docs/site/iframe_worker.js").read_text()}
    for name, text in written.items():
        files.append(File.generated(config, name, content=text))
    return files


def source_page(path: str) -> str:
    """A file of code as a page, or the list of what is in a folder. The search leaves both out."""
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {Path(path).name}\n\n`{path}`\n\n"
    if (ROOT / path).is_dir():
        return head + "\n".join(f"- [{file.name}]({file.name}.md)" for file in sorted((ROOT / path).glob("*.*")))
    language = LANGUAGES.get(Path(path).suffix, "text")
    return f"{head}~~~~~~~~{language}\n{(ROOT / path).read_text()}\n~~~~~~~~"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns the links of docs/*.md, those of generated pages being turned already, and spaces lists."""
    text = markdown if page.file.generated_by else turn_links(markdown, "docs", page.file.src_uri)
    return space_lists(text)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Refuses a list or table that GitHub shows as such, and the site as running text."""
    if found := re.search(r"<p>(?:(?!</?p>)[\s\S])*?^[-|] .*$", html, re.MULTILINE):
        raise PluginError(f"{page.file.src_uri} wants an empty line above: {found[0].splitlines()[-1][:80]}")
    return html


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Makes a page load nothing from the network."""
    return load_locally(output, page.url)


def on_post_template(output: str, template_name: str, config: MkDocsConfig) -> str:
    """Makes the page for what is not found load nothing from the network either."""
    return load_locally(output, template_name) if template_name.endswith(".html") else output


def load_locally(output: str, url: str) -> str:
    """A page of the site that loads the theme's one remote script from the site; refused if it loads anything else."""
    output = output.replace(SHIM, get_relative_url(SHIM_HERE, url))
    if remote := REMOTE.search(output):
        raise PluginError(f"{url} loads from the network: {remote[0]}")
    return output

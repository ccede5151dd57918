"""Complete the documentation site: pages that the navigation does not name, the help of the
commands."""

import contextlib
import io
import os
import re
from pathlib import Path
from unittest.mock import patch

from isoq.cli import COMMANDS, main


def on_config(config):
    """Append the pages that the navigation does not name."""
    folder = Path(config.docs_dir)
    pages = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.md"))
    rest = [page for page in pages if page not in set(_named(config.nav))]
    if rest:
        config.nav.append({"More": rest})
    return config


def _named(entries):
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from _named([below] if isinstance(below, str) else below)


def on_page_markdown(markdown, page, config, files):
    """Turn links out of the folder into names of files, because the repository is not part of the
    site."""
    up = page.file.src_uri.count("/") + 1
    markdown = re.sub(rf"\[([^\]]*)\]\((?:\.\./){{{up}}}([^)]*)\)", r"\1 (`\2`)", markdown)
    return markdown + _help() if page.file.src_uri == "reference/cli.md" else markdown


def _help() -> str:
    with patch.dict(os.environ, COLUMNS="110"):
        return "\n".join(f"## isoq {name}\n\n```text\n{_help_of(name)}```\n" for name in COMMANDS)


def _help_of(name: str) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main([name, "-h"])
    return text.getvalue()

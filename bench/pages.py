"""Write the tables of the documentation from bench/results; nothing is measured.

A page says where a table belongs. Between the lines

    <!-- table: NAME N -->
    <!-- table: end -->

goes the N-th table (from 1) that `show` of bench/NAME.py prints for results/NAME.csv; NAME-OTHER
means results/NAME-OTHER.csv of the same script. Run
`python bench/pages.py` after a benchmark; a test fails if a page is not up to date."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from pathlib import Path

from common import HERE, stored

ROOT = HERE.parent
MARKED = re.compile(r"(<!-- table: ([\w-]+) (\d+) -->\n).*?(<!-- table: end -->)", re.DOTALL)


def pages() -> Iterator[Path]:
    """Yield the pages that have tables."""
    written = (ROOT / "README.md", ROOT / "paper/paper.md", *sorted((ROOT / "docs").rglob("*.md")))
    for page in written:
        if MARKED.search(page.read_text(encoding="utf-8")):
            yield page


def rendered(page: Path) -> str:
    """Return the text of a page with its tables made anew."""

    def table(found: re.Match[str]) -> str:
        text = tables(found[2])[int(found[3]) - 1]
        return f"{found[1]}\n{text}\n\n{found[4]}"

    return MARKED.sub(table, page.read_text(encoding="utf-8"))


@cache
def tables(name: str) -> list[str]:
    """Return the tables that a benchmark prints for its stored results."""
    bench = import_module(name.partition("-")[0])
    out = io.StringIO()
    with redirect_stdout(out):
        bench.show(stored(name))
    return [part for part in out.getvalue().strip().split("\n\n") if part.startswith("|")]


def main() -> None:
    for page in pages():
        page.write_text(rendered(page), encoding="utf-8")
        print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()

"""The documentation site builds without a network, also with a new page, and its commands work."""

import re
import shlex
import shutil
import socket
from pathlib import Path

import pytest
from cases import DATA

from isoq.cli import COMMANDS, _parse, main

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `isoq ...` in a page's blocks of commands."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("isoq ")]


def test_the_site_builds_offline(tmp_path, monkeypatch):
    build = pytest.importorskip("mkdocs.commands.build")
    config = pytest.importorskip("mkdocs.config")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")

    def connect(*_):
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "docs/added.md").write_text(
        "# A page of tomorrow\n\nSee [the source](../src/isoq/tile/encode.py) and [the "
        "format](format.md).\n"
    )
    build.build(
        config.load_config(
            str(tmp_path / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True
        )
    )

    html = {
        path.relative_to(tmp_path / "site").as_posix(): path.read_text("utf-8")
        for path in (tmp_path / "site").rglob("*.html")
    }
    expected = {
        (path.parent if path.stem in ("index", "README") else path.with_suffix("")) / "index.html"
        for path in (page.relative_to(ROOT / "docs") for page in PAGES)
    }
    assert {path.as_posix() for path in expected} | {"added/index.html"} <= set(html)
    assert "A page of tomorrow" in html["index.html"]  # in the navigation
    assert "the source (<code>src/isoq/tile/encode.py</code>)" in html["added/index.html"]
    for name, text in html.items():
        assert not re.findall(
            r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?(?:https?:)?//[^\s>]*", text
        ), name
    assert all(f"usage: isoq {name}" in html["reference/cli/index.html"] for name in COMMANDS)
    assert 'id="isoq.compress"' in html["reference/python/index.html"]
    assert "Give exactly one target" in html["reference/python/index.html"]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem
)
def test_commands_are_understood(page):
    for arguments in commands(page):
        if arguments[0].startswith("-"):  # prints something and ends
            with pytest.raises(SystemExit) as ended:
                _parse(arguments)
            assert not ended.value.code
        else:
            assert _parse(arguments).command == arguments[0]


def test_the_tutorial_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(DATA / "landsat.tif", "scene.tif")
    page = ROOT / "docs/tutorial.md"
    assert len(commands(page)) > 4
    for arguments in commands(page):
        assert main(arguments) == 0
    for code in blocks(page, "python"):
        exec(code, {})
    assert "every block was measured and is under its target" in capsys.readouterr().out

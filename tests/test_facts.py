"""The documentation agrees with the code: constants, paths, modules, commands, options, names,
extras, links.

A number is compared with the code where a comment follows it: `0.98 <!-- isoq.module.NAME -->`.
The comment may hold a small expression, such as `isoq.module.NAME / 2**20`."""

import importlib
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest

from isoq.cli import COMMANDS, main

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "paper/paper.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / folder / "README.md" for folder in ("bench", "training", "fuzz", "examples/data")),
]
FOLDERS = ("src", "tests", "bench", "docs", "fuzz", "training", "examples")
FACT = re.compile(r"<!--\s+(isoq[\w.]+)((?:\s+[-+*/]\s+[\d*]+)*)\s+-->")
MARKER = re.compile(r"<!-- table: [\w -]+ -->")
NUMBER = re.compile(r"(?<![\w.])[-−]?\d[\d   ]*(?:\.\d+)?[⁰¹²³⁴⁵⁶⁷⁸⁹]*(?=\W*$)")
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page):
    return page.read_text(encoding="utf-8")


def code_of(page):
    """The inline code of a page, outside its blocks of code."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text_of(page), flags=re.M | re.S))


def lines_of(page):
    """The lines to type: those of blocks of code, without prompt and comment, and inline code."""
    blocks = re.findall(r"^```(?:bash|console)?\n(.*?)^```", text_of(page), re.M | re.S)
    typed = [line.removeprefix("$ ").split("  #")[0] for b in blocks for line in b.splitlines()]
    return [*typed, *code_of(page)]


def resolve(name):
    """The object of a dotted name."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("isoq"):
                pytest.skip(f"needs {error.name}")
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


def value_of(text):
    """The number that a page writes: `0.985`, `4 194 304`, `2²⁶`."""
    text = re.sub(r"[   ]", "", text).replace("−", "-")
    power = re.fullmatch(r"(\d+)([⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text)
    if power:
        return int(power[1]) ** int(power[2].translate(SUPERSCRIPTS))
    return float(text)


@cache
def options_of(command):
    """The options in the help of a command."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([command, "-h"])
    return set(re.findall(r"--[a-z][\w-]*", out.getvalue()))


@cache
def options_of_script(path):
    """The options that a script, or what benchmarks share, mentions in its source."""
    shared = ROOT / "bench" / "common.py"
    found = re.findall(r'"(--[a-z][\w-]*)"', path.read_text() + shared.read_text())
    return set(found)


@each_page
def test_quoted_constants_are_those_of_the_code(page):
    text = text_of(page)
    assert len(FACT.findall(text)) == text.count("<!--") - len(MARKER.findall(text))
    for fact in FACT.finditer(text):
        number = NUMBER.search(text[: fact.start()].rstrip())
        assert number, f"no number before {fact[0]}"
        expected = eval(f"value{fact[2]}", {"value": resolve(fact[1])})
        assert value_of(number[0]) == pytest.approx(expected), fact[0]


@each_page
def test_paths_exist(page):
    for code in code_of(page):
        for path in re.findall(rf"(?:{'|'.join(FOLDERS)})/[\w./*{{}}-]*", code):
            if code.startswith(path) and "{" not in path:
                assert list(ROOT.glob(path.rstrip("/.").replace("NAME", "*"))), path
    for module in re.findall(r"\*\*([\w/]+\.(?:py|pyx|h))\*\*", text_of(page)):
        assert any((top / module).exists() for top in (ROOT, ROOT / "src/isoq")), module


@each_page
def test_commands_and_options_exist(page):
    for line in lines_of(page):
        line = line.rstrip("\\")
        words = shlex.split(line) if line.count("'") % 2 == 0 and line.count('"') % 2 == 0 else []
        if words[:1] == ["make"] and len(words) == 2:
            assert re.search(rf"^{words[1]}:", text_of(ROOT / "Makefile"), re.M), line
        elif words[:1] == ["isoq"] and len(words) > 1 and words[1] in COMMANDS:
            given = {word.split("=")[0] for word in words if re.match("--[a-z]", word)}
            assert given <= options_of(words[1]), line
        elif words[:1] == ["isoq"] and len(words) > 1:
            assert not re.fullmatch("[a-z]+", words[1]), line
        elif words[:1] == ["python"] and len(words) > 1 and words[1].endswith(".py"):
            script = ROOT / words[1]
            assert script.exists(), line
            given = {word for word in words if re.match("--[a-z]", word)}
            assert given <= options_of_script(script), line


@each_page
def test_options_named_alone_exist(page):
    scripts = [path for folder in ("bench", "fuzz") for path in (ROOT / folder).glob("*.py")]
    known = set.union(*map(options_of, COMMANDS), *map(options_of_script, scripts))
    for code in code_of(page):
        if option := re.match(r"--[a-z][\w-]*", code):
            assert option[0] in known, code


@each_page
def test_public_names_exist(page):
    for code in code_of(page):
        if name := re.match(r"isoq(\.[A-Za-z_]\w*)+(?=$|\W)", code):
            resolve(name[0])


@each_page
def test_extras_and_models_exist(page):
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    for extra in re.findall(r"(?:\.|isoq)\[([\w,]+)\]'", text_of(page)):
        assert set(extra.split(",")) <= set(project["optional-dependencies"])
    shipped = {path.parent.name for path in (ROOT / "src/isoq/models").glob("*/model.json")}
    assert set(re.findall(r"\beo16-\d+\b", text_of(page))) <= shipped


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", text_of(file), re.M)
            assert anchor in {slug(head) for head in heads}, target


def slug(head):
    """The anchor of a heading, as the site makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", head.lower()).strip())


@each_page
def test_lines_have_at_most_100_columns(page):
    fenced = False
    for number, line in enumerate(text_of(page).splitlines(), 1):
        fenced ^= line.startswith("```")
        free = fenced or re.match(r"\s*\||    ", line) or "](" in line or "http" in line
        assert free or len(line) <= 100, f"{page.name}:{number}"


def test_the_readme_is_short():
    assert len(text_of(ROOT / "README.md").split()) <= 450

"""The recipe for conda describes the package that pyproject.toml describes."""

import tomllib
from pathlib import Path

import pytest

from isoq import __version__

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parent.parent
RECIPE = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def plain(requirements: list) -> set[str]:
    """Return requirements without blanks, and without those that are only for conda."""
    texts = {text.replace(" ", "") for text in requirements if isinstance(text, str)}
    return {text for text in texts if text not in ("python", "pip")}


def test_the_version_is_that_of_the_package():
    assert RECIPE["context"]["version"] == __version__


def test_the_requirements_are_those_of_the_package():
    needed = RECIPE["requirements"]
    assert plain(needed["run"]) == set(PROJECT["project"]["dependencies"])
    assert plain(needed["host"]) == set(PROJECT["build-system"]["requires"])


def test_the_licence_and_the_least_python_are_those_of_the_package():
    assert RECIPE["about"]["license"] == PROJECT["project"]["license"]
    least = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert RECIPE["build"]["skip"] == f'match(python, "<{least}")'

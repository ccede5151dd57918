"""The examples in the docstrings of the public names run."""

import doctest
import shutil
from importlib import import_module

import pytest
from cases import DATA

import isoq

MODULES = ("isoq", "isoq.errors", "isoq.codec.target", "isoq.codec.estimate", "isoq.network.model")
MODULES += tuple(
    f"isoq.api.{name}" for name in ("arrays", "dataset", "files", "keywords", "reports", "source")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_work(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner()
    for test in finder.find(module, name):
        shutil.copy(DATA / "landsat.tif", "scene.tif")
        (tmp_path / "scene.isoq").unlink(missing_ok=True)
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize("name", isoq.__all__)
def test_public_names_have_a_docstring(name):
    assert getattr(isoq, name).__doc__

"""Fixtures of several test modules, and the choice of modules for `make quick`."""

import re

import pytest

from isoq.codec.decoded_memory import DecodedMemory

SLOW_MODULE = re.compile(r"^pytestmark = .*\bslow\b", re.MULTILINE)


def pytest_ignore_collect(collection_path, config):
    """Leave out modules that are slow as a whole if slow tests are not wanted, because importing
    PyTorch, dask and matplotlib alone takes as long as many quick tests."""
    if config.getoption("markexpr") == "not slow" and collection_path.suffix == ".py":
        return bool(SLOW_MODULE.search(collection_path.read_text(encoding="utf-8"))) or None
    return None


@pytest.fixture(scope="module")
def one_thread():
    """PyTorch on one thread, for `pytestmark = pytest.mark.usefixtures("one_thread")`: sums in the
    same order each time."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def transformed(monkeypatch):
    """No band is predicted that need not be: for tests of what the network does."""
    monkeypatch.setattr("isoq.tile.prediction.worth_trying", lambda bits, bands: False)
    monkeypatch.setattr("isoq.tile.encode.predict_thin", lambda tile, target, bands: None)


@pytest.fixture
def nothing_decoded(monkeypatch):
    """A test begins like a process of its own, which has decoded nothing."""
    monkeypatch.setattr("isoq.ecosystem.chunks._DECODED", DecodedMemory())

"""Fixtures of several test modules."""

import pytest


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

"""Model folders that mean harm: refused in one line, and before they cost anything."""

import json
import shutil
import tracemalloc
import zipfile

import numpy as np
import pytest
from cases import context_arrays, graph_model, model, model_with_trellis

from isoq.entropy.context import ContextModel
from isoq.errors import ModelMismatchError
from isoq.network.model import Model
from isoq.tile.reconstruct import Reconstruction


@pytest.fixture
def folder(tmp_path):
    """A copy of the newest model."""
    shutil.copytree(model().folder, tmp_path / "m")
    return tmp_path / "m"


@pytest.fixture
def folder_of_graphs(tmp_path):
    shutil.copytree(graph_model().folder, tmp_path / "g")
    return tmp_path / "g"


def refused(folder) -> str:
    tracemalloc.start()
    with pytest.raises(ModelMismatchError) as caught:
        Model(folder).entropy  # noqa: B018
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert peak < 64 << 20
    return str(caught.value)


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + data


def save_members(folder, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(folder / "decoder.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("array", "words"),
    [
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n"), "shape"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n", bytes(4)), "shape"),
        (npy("{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000000,), }\n"), "type"),
        (
            npy(
                "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
                b"cos\nsystem\n(S'false'\ntR.",
            ),
            "type",
        ),
        (npy("(" * 9000), ""),
        (npy("-" * 9000 + "1"), ""),
        (b"\x93NUMPY\3\0", "format"),
        (b"", ""),
    ],
)
def test_arrays_that_lie(folder, array, words):
    save_members(folder, {"group.npy": array})
    assert words in refused(folder)


@pytest.mark.slow
def test_archives_that_swell(folder):
    with (
        zipfile.ZipFile(folder / "decoder.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(300):
            file.write(bytes(1 << 20))
    assert "more than" in refused(folder)


@pytest.mark.parametrize("at", range(0, 170_000, 9973))
def test_archives_that_are_damaged(folder, at):
    """Refused, or, where the zip format does not look, the same model."""
    path = folder / "decoder.npz"
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)
    try:
        assert Model(folder).identity == model().identity
    except ModelMismatchError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        "9" * 5000,
        "[" * 100_000,
        "\0",
        '{"format": 1, "name": "a", "bands": 1e999, "latents": 1, "lambda_min": 1, "lambda_max": '
        "2}",
    ],
)
def test_descriptions_that_are_none(folder, text):
    (folder / "model.json").write_text(text)
    refused(folder)


def test_tables_for_other_latents(folder):
    arrays = {f"context_{name}": a for name, a in context_arrays(6).items()}
    arrays |= {name: model().arrays[name] for name in ("wavelet_unit", "context_trellis")}
    np.savez(folder / "decoder.npz", **arrays)
    assert "6 latent channels, not 256" in refused(folder)


def test_wavelets_with_tables_for_other_latents(folder):
    """The tables fit what the description says, and neither fits the wavelets."""
    info = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(info | {"latents": 6}))
    arrays = {f"context_{name}": a for name, a in context_arrays(6).items()}
    arrays |= {name: model().arrays[name] for name in ("wavelet_unit", "context_trellis")}
    np.savez(folder / "decoder.npz", **arrays)
    assert "256 latents" in refused(folder)


@pytest.mark.parametrize(
    ("number", "trellis"),
    [(1, [64, 38, 25]), (2, None), (2, [64, 38, 32]), (2, [1 << 30, 1 << 29, 1]), (2, [64.0] * 3)],
)
def test_trellises_that_are_none(tmp_path, number, trellis):
    """And a model of format 1 has none of its own: readers before would not look for it."""
    assert "trellis" in refused(model_with_trellis(tmp_path / "m", number, trellis))


def test_lists_that_wrap_around():
    """Differences of 32-bit integers that overflow look ordered."""
    arrays = context_arrays(4)
    arrays["around_start"] = np.array(
        [0, 2**31 - 1, -(2**31), -1, arrays["around_channel"].size], np.int32
    )
    with pytest.raises(ValueError, match="not a list of entries"):
        ContextModel(arrays)


@pytest.mark.parametrize(
    "changes",
    [
        {"wavelets": 4},
        {"wavelets": "9/7!"},
        {"wavelets": ["9/7"] * 5},
        {"wavelets": ["9/7", "9/7", "9/7", ["9/7"]]},
        {"wavelets": {}},
        {"bands": 2},
        {"latents": 1},
        {"latents": 255},
        {"entropy": "hyperprior"},
    ],
)
def test_wavelets_that_are_none(folder, changes):
    info = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(info | changes))
    refused(folder)


@pytest.mark.parametrize(
    "unit",
    [
        None,
        np.ones(255, np.int32),
        np.ones((256, 1), np.int32),
        np.ones(256, np.int64),
        np.zeros(256, np.int32),
        np.ones((), np.int32),
        np.ones(0, np.int32),
    ],
)
def test_steps_of_wavelets_that_are_none(folder, unit):
    arrays = {name: a for name, a in model().arrays.items() if name != "wavelet_unit"}
    np.savez(folder / "decoder.npz", **arrays, **({} if unit is None else {"wavelet_unit": unit}))
    refused(folder)


def test_the_largest_steps_of_wavelets_decode(folder):
    """Without an error, warning or undefined behaviour; sums wrap around."""
    largest = np.full(256, 2**31 - 1, np.int32)
    np.savez(folder / "decoder.npz", **model().arrays | {"wavelet_unit": largest})
    wavelet = Model(folder).wavelet
    steps = np.full((256, 4, 4), 2.0**23, np.float32)
    for fraction in (0, 20):
        plane = wavelet.decode(steps, np.zeros((4, 4), np.int64), fraction)
        assert plane.shape == (64, 64)


def test_a_synthesis_of_another_size(folder_of_graphs):
    shutil.copy(folder_of_graphs / "analysis.onnx", folder_of_graphs / "synthesis.onnx")
    broken, steps = Model(folder_of_graphs), np.zeros((256, 4, 4), np.float32)
    levels = np.zeros((4, 4), np.int64)
    from_graph = Reconstruction([], None, None)
    with pytest.raises(ModelMismatchError, match="not one of isoq's: Conv of"):
        from_graph.samples([steps], levels, (64, 64), np.dtype("uint8"), broken)
    broken.synthesis = lambda y: np.zeros((1, 1, 64, 65), np.float32)
    with pytest.raises(ModelMismatchError, match="makes"):
        from_graph.samples([steps], levels, (64, 64), np.dtype("uint8"), broken)

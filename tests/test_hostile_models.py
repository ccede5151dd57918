"""Model folders that mean harm: refused in one line, and before they cost anything."""

import shutil
import tracemalloc
import zipfile

import numpy as np
import pytest
from cases import context_arrays, model

from isoq.entropy.context import ContextModel
from isoq.errors import ModelMismatchError
from isoq.network.model import Model
from isoq.tile.band_group import reconstruct


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(model().folder, tmp_path / "m")
    return tmp_path / "m"


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
    arrays = {f"context_{name}": a for name, a in context_arrays(6).items()} | {
        name: a for name, a in model().arrays.items() if name.startswith("modulation")
    }
    np.savez(folder / "decoder.npz", **arrays)
    assert "6 latent channels, not 256" in refused(folder)


def test_lists_that_wrap_around():
    """Differences of 32-bit integers that overflow look ordered."""
    arrays = context_arrays(4)
    arrays["around_start"] = np.array(
        [0, 2**31 - 1, -(2**31), -1, arrays["around_channel"].size], np.int32
    )
    with pytest.raises(ValueError, match="not a list of entries"):
        ContextModel(arrays)


def test_a_synthesis_of_another_size(folder):
    shutil.copy(folder / "analysis.onnx", folder / "synthesis.onnx")
    broken = Model(folder)
    with pytest.raises(ModelMismatchError, match="not one of isoq's: Conv of"):
        reconstruct(
            [np.zeros((256, 4, 4), np.float32)], [], None, (64, 64), np.dtype("uint8"), broken
        )
    broken.synthesis = lambda y: np.zeros((1, 1, 64, 65), np.float32)
    with pytest.raises(ModelMismatchError, match="makes"):
        reconstruct(
            [np.zeros((256, 4, 4), np.float32)], [], None, (64, 64), np.dtype("uint8"), broken
        )

"""An altered tile raises CorruptFileError, or decodes to the very same latents; nothing else."""

from copy import copy

import numpy as np
import pytest
from cases import model, terrain
from test_tile import goal

from isoq.errors import CorruptFileError
from isoq.format.bytestream import Writer
from isoq.tile.decode import decode_tile
from isoq.tile.encode import encode_tile


def plain():
    return terrain(1, 64, 64, "uint16"), None


def masked():
    pixels = terrain(2, 20, 33, "uint16")
    pixels[0, 5:9, 3:20] = 0
    return pixels, 0.0


def constant():
    return np.full((3, 20, 20), 9, "int16"), None


def empty():
    return np.full((1, 20, 20), 255, "uint8"), 255.0


KINDS = {make.__name__: make for make in (plain, masked, constant, empty)}


@pytest.fixture(scope="module", params=KINDS)
def tile(request):
    pixels, nodata = KINDS[request.param]()
    nodata = (nodata,) * len(pixels)
    data = encode_tile(pixels, nodata, goal(len(pixels), 2000.0), model(), 16)[0]

    def decode(altered: bytes):
        return decode_tile(altered, nodata, model(), pixels.shape, pixels.dtype.name)

    return data, decode, decode(data).latents


def test_flipped_bytes(tile):
    data, decode, latents = tile
    rejected, rng = 0, np.random.default_rng(0)
    places = np.unique(
        np.concatenate(
            [
                np.arange(min(90, len(data))),
                rng.integers(0, len(data), 60),
                np.arange(len(data))[-8:],
            ]
        )
    )
    for at in places:
        for flip in {0xFF, 1 << rng.integers(8)}:
            altered = bytearray(data)
            altered[at] ^= flip
            try:
                found = decode(bytes(altered)).latents
            except CorruptFileError as error:
                rejected += 1
                assert "\n" not in str(error)  # noqa: PT017
            else:
                assert len(found) == len(latents)
                assert all(np.array_equal(a, b) for a, b in zip(found, latents, strict=True))
    assert rejected > len(places) // 2


def test_truncated_or_prolonged(tile):
    data, decode, _ = tile
    for cut in np.unique(np.linspace(0, len(data) - 1, 60).astype(int)):
        with pytest.raises(CorruptFileError):
            decode(data[:cut])
    with pytest.raises(CorruptFileError, match="more data"):
        decode(data + b"\0")


def test_a_tile_of_another_file(tile):
    data = tile[0]
    for shape, dtype in (((1, 65, 64), "uint16"), ((1, 64, 64), "int32")):
        with pytest.raises(CorruptFileError, match="does not fit"):
            decode_tile(data, (None,), model(), shape, dtype)


def test_an_impossible_block():
    out = Writer()
    out.pack("B", 0)
    for number in (1, 64, 64, 1 << 62):
        out.varint(number)
    with pytest.raises(CorruptFileError, match="does not fit"):
        decode_tile(bytes(out.data) + bytes(20), (None,), model(), (1, 64, 64), "uint8")


def test_noise_is_no_tile():
    rng = np.random.default_rng(0)
    for size in (0, 1, 10, 200):
        with pytest.raises(CorruptFileError):
            decode_tile(rng.bytes(size), (None,), model(), (1, 64, 64), "uint8")


def test_random_tails_behind_a_true_header():
    pixels = terrain(1, 64, 64, "uint16")
    data = encode_tile(pixels, (None,), goal(1, 2000.0), model())[0]
    rng = np.random.default_rng(1)
    for _ in range(100):
        at = int(rng.integers(1, 40))
        with pytest.raises(CorruptFileError):
            decode_tile(
                data[:at] + rng.bytes(int(rng.integers(1, 300))),
                (None,),
                model(),
                pixels.shape,
                "uint16",
            )


def test_a_rotation_needs_a_model_of_one_band():
    """Found by fuzzing."""
    pixels, nodata = terrain(2, 64, 64, "uint16"), (None, None)
    data = encode_tile(pixels, nodata, goal(2, 2000.0), model(), 16)[0]
    pair = copy(model())
    pair.bands = 2
    with pytest.raises(CorruptFileError, match="impossible number of bands"):
        decode_tile(data, nodata, pair, pixels.shape, "uint16")

"""Bytes in the small: numbers and parts come back, damage is noticed."""

import numpy as np
import pytest
from cases import modest
from hypothesis import given
from hypothesis import strategies as st
from isoq.entropy._integers import decode_symbols, encode_symbols

from isoq.errors import CorruptFileError
from isoq.format.bytestream import Reader, Writer, pack_integers, unpack_integers

NUMBERS = st.one_of(st.integers(0, 2**62), st.integers(0, 300))


@modest(100)
@given(
    st.lists(
        st.tuples(st.sampled_from(["varint", "signed", "part"]), NUMBERS, st.booleans()),
        max_size=20,
    )
)
@pytest.mark.slow
def test_fields_come_back(fields):
    out, expected = Writer(), []
    for kind, number, negative in fields:
        value = (
            bytes(number % 400)
            if kind == "part"
            else -number
            if negative and kind == "signed"
            else number
        )
        getattr(out, kind)(value)
        expected.append((kind, value))
    out.pack("Bf", 7, 0.5)
    data = Reader(bytes(out.data))
    assert [(kind, getattr(data, kind)()) for kind, _ in expected] == expected
    assert data.unpack("Bf") == (7, 0.5)
    data.end()
    for cut in range(len(out.data)):
        data = Reader(bytes(out.data[:cut]))
        with pytest.raises(CorruptFileError):
            _read_all(data, [kind for kind, _ in expected])


def _read_all(data: Reader, kinds: list[str]) -> None:
    for kind in kinds:
        getattr(data, kind)()
    data.unpack("Bf")


def test_small_numbers_are_small():
    for value, size in ((0, 1), (127, 1), (128, 2), (2**14 - 1, 2), (2**14, 3)):
        out = Writer()
        out.varint(value)
        assert len(out.data) == size
    out = Writer()
    for value in (0, -1, 1, -64, 63):
        out.signed(value)
    assert bytes(out.data) == bytes([0, 1, 2, 127, 126])


def test_damaged_fields():
    with pytest.raises(CorruptFileError, match="does not end"):
        Reader(b"\xff" * 20).varint()
    with pytest.raises(CorruptFileError, match="too early"):
        Reader(b"\xff\xff\xff\xff\x7f123").part()
    with pytest.raises(CorruptFileError, match="too early"):
        Reader(b"123").unpack("I")
    with pytest.raises(CorruptFileError, match="more data"):
        Reader(b"1").end()


@modest(150)
@given(st.integers(2, 22), st.lists(st.integers(-(2**23), 2**23), max_size=60), st.booleans())
def test_integers_come_back(shift, values, outlier):
    integers = np.array(values, np.int64) >> shift
    if outlier and integers.size > 6:
        integers[:2] = 2**23, 1 - 2**20
    data = pack_integers(integers)
    (back,) = unpack_integers(data, integers.size)
    assert back.dtype == np.int32
    assert np.array_equal(back, integers)
    assert (data == b"") == (not integers.any())


@pytest.mark.parametrize("value", [2**21, 2**22, 2**23])
def test_large_magnitudes_on_the_whole(value):
    integers = np.array([value, -value, value])
    assert np.array_equal(unpack_integers(pack_integers(integers), 3)[0], integers)


def test_any_shape():
    integers = np.arange(24).reshape(2, 3, 4)
    assert np.array_equal(unpack_integers(pack_integers(integers), 24)[0], integers.ravel())


@pytest.mark.parametrize("spread", [0.1, 0.5, 2, 10, 100, 5000])
def test_integers_cost_about_their_entropy(spread):
    integers = np.rint(np.random.default_rng(0).laplace(0, spread, 5000)).astype(int)
    p = np.unique(integers, return_counts=True)[1] / integers.size
    entropy = -(p * np.log2(p)).sum() if spread < 1000 else np.log2(2 * np.e * spread)
    assert 8 * len(pack_integers(integers)) / integers.size < 1.06 * entropy + 0.05


def test_damaged_integers():
    integers = np.random.default_rng(1).integers(-40, 40, 50)
    data = pack_integers(integers)
    for cut in range(1, len(data)):
        with pytest.raises(CorruptFileError):
            unpack_integers(data[:cut], 50)
    with pytest.raises(CorruptFileError):
        unpack_integers(data + bytes(4), 50)
    for size in (49, 51, 0, 1000):
        with pytest.raises(CorruptFileError):
            unpack_integers(data, size)
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= 1 << at % 8
        try:
            assert not np.array_equal(unpack_integers(bytes(altered), 50)[0], integers)
        except CorruptFileError as error:
            assert "damaged" in str(error)  # noqa: PT017


@modest(50)
@given(st.lists(st.lists(st.integers(-(2**26) + 1, 2**26 - 1), max_size=9), max_size=4))
def test_several_sequences_share_a_stream(sequences):
    data = pack_integers(*[np.array(s, np.int32) for s in sequences])
    back = unpack_integers(data, *map(len, sequences))
    assert [s.tolist() for s in back] == sequences


def test_symbols_refuse_what_does_not_fit():
    cdf, shifts = (
        np.arange(0, 2**15, 2**10, dtype=np.uint16)[None].repeat(2, 0),
        np.zeros(2, np.uint8),
    )
    cdf = np.hstack([cdf, np.full((2, 1), 2**15, np.uint16)])
    values, tables = np.zeros(3, np.int32), np.zeros(3, np.uint16)
    with pytest.raises(ValueError, match="sizes"):
        encode_symbols(values, tables[:2], cdf, shifts)
    with pytest.raises(ValueError, match="range"):
        encode_symbols(values, tables + np.uint16(len(cdf)), cdf, shifts)
    with pytest.raises(ValueError, match="range"):
        decode_symbols(np.zeros(8, np.uint8), tables + np.uint16(len(cdf)), cdf, shifts)
    assert decode_symbols(np.zeros(0, np.uint8), tables, cdf, shifts) is None

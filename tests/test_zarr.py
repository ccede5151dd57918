"""The codec `isoq` of Zarr version 3, through Zarr itself and its own strategies."""

import asyncio
import json
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import crop, model, modest, other_model, terrain
from hypothesis import given
from hypothesis import strategies as st
from images import DTYPES, one_line

import isoq
from isoq.codec.decoded_memory import DecodedMemory
from isoq.ecosystem import chunks
from isoq.errors import CorruptFileError, InputError, ModelMismatchError, UnsupportedImageError
from isoq.network.model import load_model

zarr = pytest.importorskip("zarr")
from zarr.codecs import Crc32cCodec, TransposeCodec, ZstdCodec  # noqa: E402
from zarr.testing.strategies import basic_indices, chunk_shapes, shard_shapes  # noqa: E402
from zarr_arrays import block_errors, create  # noqa: E402

from isoq.ecosystem.record import record_errors  # noqa: E402
from isoq.ecosystem.zarr import IsoqCodec  # noqa: E402

pytestmark = pytest.mark.usefixtures("nothing_decoded")

EXACT = 1e-5  # a mean squared error of a block of integers that is below one is none


@pytest.mark.parametrize(
    ("layers", "shards", "behind"),
    [
        (3, None, None),
        (1, None, [Crc32cCodec()]),
        (3, (3, 256, 256), None),
        (1, (3, 256, 256), [ZstdCodec(), Crc32cCodec()]),
    ],
)
@pytest.mark.slow
def test_a_real_scene_keeps_its_promise(layers, shards, behind, tmp_path):
    pixels = crop("sentinel2.tif")
    create(
        tmp_path,
        pixels,
        IsoqCodec(mse=25),
        (layers, 128, 128),
        shards=shards,
        compressors=behind,
        fill_value=65535,
    )
    decoded = zarr.open_array(tmp_path, path="a")[:]
    errors = block_errors(decoded, pixels, 128)
    assert (errors.mean(0) if layers == 3 else errors).max() <= 25
    assert errors.mean() > 20


@pytest.mark.slow
def test_a_target_per_band():
    pixels, store = crop("sentinel2.tif"), zarr.storage.MemoryStore()
    asked = [20.0, 200.0, 1000.0]
    array = create(store, pixels, IsoqCodec(mse=np.array(asked)), (3, 128, 128))
    found = block_errors(array[:], pixels, 128) / np.reshape(asked, (3, 1, 1))
    assert found.max() <= 1
    assert (found.mean((1, 2)) > 0.5).all()
    loose = IsoqCodec(mse=asked, joint="mean")
    array = create(store, pixels, loose, (3, 128, 128), name="mean")
    found = block_errors(array[:], pixels, 128) / np.reshape(asked, (3, 1, 1))
    assert found.mean(0).max() <= 1
    # along the axis before the rows, whatever else a chunk holds
    cube = np.stack([pixels, pixels])
    array = create(store, cube, IsoqCodec(mse=asked), (2, 3, 128, 128), name="b")
    assert (block_errors(array[:], cube, 128) / np.reshape(asked, (3, 1, 1))).max() <= 1
    with one_line(InputError, "mse: 3 values for 1 band(s) in chunks of (1, 128, 128)"):
        create(store, pixels, IsoqCodec(mse=asked), (1, 128, 128), name="c")


@st.composite
def arrays(draw):
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    chunk = draw(chunk_shapes(shape=shape))
    shards = draw(st.none() | shard_shapes(shape=shape, chunk_shape=chunk))
    dtype = np.dtype(
        draw(st.sampled_from([name for name in DTYPES if name != "float32"]))
    ).newbyteorder(draw(st.sampled_from("<>")))
    values = (
        np.random.default_rng(draw(st.integers(0, 99)))
        .integers(0, draw(st.integers(1, 127)), shape)
        .astype(dtype)
    )
    return values, chunk, shards, draw(st.integers(0, 3)), draw(basic_indices(shape=shape))


@pytest.mark.slow
@modest(10)
@given(arrays())
def test_any_shape_chunk_and_selection(drawn):
    values, chunk, shards, fill, where = drawn
    array = create(
        zarr.storage.MemoryStore(),
        values,
        IsoqCodec(mse=EXACT),
        chunk,
        shards=shards,
        fill_value=fill,
    )
    assert array.dtype == values.dtype
    assert np.array_equal(array[...], values)
    assert np.array_equal(array[where], values[where])
    changed = values.copy()
    changed[where] = 5
    array[where] = 5
    assert np.array_equal(array[...], changed)


@pytest.mark.parametrize("shape", [(), (0,), (0, 5), (3, 0, 4), (1, 1)])
def test_tiny_and_empty(shape):
    values = np.full(shape, 7, "int16")
    array = create(
        zarr.storage.MemoryStore(), values, IsoqCodec(mse=EXACT), tuple(max(n, 1) for n in shape)
    )
    assert np.array_equal(array[...], values)


@pytest.mark.slow
def test_a_chunk_of_several_tiles():
    values = terrain(1, 40, 2100, "uint8")[0]
    array = create(zarr.storage.MemoryStore(), values, IsoqCodec(mse=4, block=32), (40, 2100))
    assert ((array[:].astype(float) - values) ** 2).mean() <= 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.slow
def test_the_fill_value_is_nodata(dtype, monkeypatch):
    values = terrain(1, 150, 200, dtype)[0]
    fill = np.nan if dtype == "float32" else 3
    values[40:60, 30:] = fill
    values[64:128, 128:192] = fill  # a whole chunk
    store = zarr.storage.MemoryStore()
    array = create(store, values, IsoqCodec(snr=25), (64, 64), fill_value=fill)
    found, gone = array[:], np.isnan(values) if dtype == "float32" else values == fill
    assert np.array_equal(found[gone], values[gone], equal_nan=True)
    assert not (np.isnan(found[~gone]) if dtype == "float32" else found[~gone] == fill).any()
    assert array.nchunks_initialized == array.nchunks - 1  # that one is not stored
    monkeypatch.setattr(chunks, "_DECODED", DecodedMemory())
    kept = create(
        store,
        values,
        IsoqCodec(snr=25),
        (64, 64),
        fill_value=fill,
        name="b",
        config={"write_empty_chunks": True},
    )
    assert kept.nchunks_initialized == kept.nchunks
    assert np.array_equal(kept[:], found, equal_nan=True)


@pytest.mark.slow
def test_bands_that_come_last_are_transposed():
    pixels = crop("sentinel2.tif")
    array = create(
        zarr.storage.MemoryStore(),
        pixels.transpose(1, 2, 0),
        IsoqCodec(mse=25),
        (128, 128, 3),
        filters=[TransposeCodec(order=(2, 0, 1))],
    )
    assert block_errors(array[:].transpose(2, 0, 1), pixels, 128).mean(0).max() <= 25


@pytest.mark.parametrize("shards", [None, (8, 8)])
@pytest.mark.parametrize("dtype", ["int64", "bool", "float64", "uint32", "complex64"])
def test_types_are_refused_when_the_array_is_made(dtype, shards):
    store = zarr.storage.MemoryStore()
    with pytest.raises(
        UnsupportedImageError,
        match=rf"^isoq cannot code arrays of {dtype}; convert to uint8, [^\n]*$",
    ):
        zarr.create_array(
            store,
            shape=(8, 8),
            chunks=(4, 4),
            shards=shards,
            dtype=dtype,
            serializer=IsoqCodec(mse=1),
        )


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({}, InputError),
        ({"mse": -1}, InputError),
        ({"mse": 1, "snr": 3}, InputError),
        ({"quality_of": 3}, InputError),
        ({"mse": 1, "block": 63}, InputError),
        ({"mse": 1, "model": "nonesuch"}, ModelMismatchError),
        ({"bitrate": 1}, InputError),
        ({"mse": 1, "nodata": 0}, InputError),
        ({"mse": 1, "threads": 2}, InputError),
    ],
)
def test_settings_are_refused_at_once(keywords, error):
    with pytest.raises(error, match=r"^[^\n]+$"):
        IsoqCodec(**keywords)


@pytest.mark.parametrize(
    "keywords",
    [
        {"mse": 25},
        {"snr": [30.0, 40.0], "block": 32},
        {"psnr": 50.0, "peak": 4000.0, "model": "eo16-4"},
        {"quality": 1.0},
    ],
)
def test_configuration(keywords):
    codec = IsoqCodec(**keywords)
    stored = json.loads(json.dumps(codec.to_dict()))
    assert stored == {"name": "isoq", "configuration": keywords}
    for other in (
        IsoqCodec.from_dict(stored),
        pickle.loads(pickle.dumps(codec)),
        eval(repr(codec)),
    ):
        assert (other, hash(other), other.settings) == (codec, hash(codec), keywords)
    with pytest.raises(NotImplementedError):
        codec.compute_encoded_size(1, None)


def test_numbers_of_numpy_and_paths_are_kept_as_json(tmp_path):
    folder = other_model(tmp_path / "mine")
    codec = IsoqCodec(mse=np.float32(3), model=folder, block=np.int64(32))
    assert json.loads(json.dumps(codec.to_dict()))["configuration"] == {
        "mse": 3.0,
        "model": str(folder),
        "block": 32,
    }


def test_a_model_of_ones_own(tmp_path):
    values = terrain(1, 64, 64, "uint16")[0]
    folder = other_model(tmp_path / "mine")
    array = create(tmp_path / "a.zarr", values, IsoqCodec(mse=9, model=folder), (64, 64))
    assert ((array[:].astype(float) - values) ** 2).mean() <= 9
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(ModelMismatchError, match=r"written with model eo16-5"):
        zarr.open_array(tmp_path / "a.zarr", path="a")[:]


def test_damaged_and_foreign_chunks(tmp_path):
    values = terrain(1, 64, 64, "uint16")[0]
    array = create(tmp_path, values, IsoqCodec(mse=9), (64, 64))
    path = tmp_path / "a" / "c" / "0" / "0"
    assert np.array_equal(isoq.open(path).read(1), array[:])  # a chunk is a file
    good = path.read_bytes()
    path.write_bytes(good[:300] + bytes([good[300] ^ 1]) + good[301:])
    with one_line(CorruptFileError, "a checksum is wrong"):
        array[:]
    path.write_bytes(isoq.compress(values[:, :32], mse=9))
    with one_line(CorruptFileError, "a chunk of (1, 64, 32) uint16 is not one of (64, 64) uint16"):
        array[:]


@pytest.mark.slow
def test_another_process_needs_no_import(tmp_path):
    """`pip install isoq` is all that reading takes."""
    pixels = crop("landsat.tif")[0]
    array = create(tmp_path, pixels, IsoqCodec(mse=100), (64, 64))
    code = (
        f"import sys, zarr; a = zarr.open_array({str(tmp_path)!r}, path='a')[:]; print(a.sum(), "
        "'isoq' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ
    )
    assert run.stdout.split() == [str(array[:].sum()), "True"], run.stderr


@pytest.mark.slow
def test_isoq_alone_imports_nothing_of_this():
    code = (
        "import sys, isoq; from isoq import *; print(*{'zarr', 'numcodecs', 'xarray', 'dask', "
        "'pandas'} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ
        ).stdout
        == "\n"
    )


def test_work_is_done_beside_the_event_loop(monkeypatch):
    threads = set()
    for name in ("compress", "accumulated"):
        function = getattr(chunks, name)
        monkeypatch.setattr(
            chunks,
            name,
            lambda *a, _f=function, **k: (threads.add(threading.get_ident()), _f(*a, **k))[1],
        )
    values = terrain(1, 64, 64, "uint16")[0]

    async def write_and_read() -> np.ndarray:
        array = await zarr.api.asynchronous.create_array(
            zarr.storage.MemoryStore(),
            shape=(64, 64),
            chunks=(64, 64),
            dtype="uint16",
            serializer=codec,
        )
        await array.setitem(..., values)
        return await array.getitem(...)

    codec = IsoqCodec(mse=9)
    threads.clear()
    assert ((asyncio.run(write_and_read()).astype(float) - values) ** 2).mean() <= 9
    assert threads
    assert threading.get_ident() not in threads


def test_a_model_is_loaded_once(tmp_path):
    folder = other_model(tmp_path / "mine")
    with ThreadPoolExecutor(8) as pool:
        assert len({id(found) for found in pool.map(load_model, [folder] * 8)}) == 1
        assert {id(found) for found in pool.map(load_model, ["eo16"] * 8)} == {id(model())}


@pytest.mark.slow
def test_what_was_reached_is_recorded(tmp_path):
    """The error in the attributes is that of the samples, whatever lies between the codec and the
    store."""
    pixels = crop("sentinel2.tif")
    root = zarr.create_group(tmp_path)
    plain = create(root.store, pixels, IsoqCodec(mse=[20.0, 30.0, 40.0]), (3, 64, 64))
    sharded = create(
        root.store,
        pixels,
        IsoqCodec(snr=30),
        (1, 64, 64),
        name="b",
        shards=(1, 128, 128),
        compressors=[Crc32cCodec()],
    )
    real = create(
        root.store,
        pixels.astype("float32"),
        IsoqCodec(rmse=5),
        (1, 64, 64),
        name="c",
        fill_value=np.nan,
    )
    root.create_array("d", data=pixels)
    plain.attrs["scale_factor"] = 0.1
    record_errors(tmp_path)
    root = zarr.open_group(tmp_path)
    for array, unit in ((plain, 0.01), (sharded, 1), (real, 1)):
        found = root[array.name].attrs
        mse = ((array[:].astype(np.float64) - pixels) ** 2).mean()
        assert found["lossy_compression_mse"] == pytest.approx(mse * unit, rel=1e-3)
        assert 0.9 < found["lossy_compression_worst_block"] <= 1
        assert found["lossy_compression"] == "isoq_info"
        assert (found.get("quantization") == "isoq_info") == (
            array is real
        )  # CF has it for floating-point data only
    assert root["a"].attrs["lossy_compression_target"] == "mse 0.2 0.3 0.4"
    assert root["b"].attrs["lossy_compression_target"] == "snr 30"
    assert not root["d"].attrs
    assert root["isoq_info"].attrs.asdict() == {
        "algorithm": "isoq",
        "implementation": f"isoq version {isoq.__version__} (model eo16-5)",
    }


@pytest.mark.parametrize("kept", [[2], "2-3", "none"])
def test_bands_of_a_chunk_can_be_lossless(kept):
    pixels = terrain(3, 40, 50, "uint16")
    codec = IsoqCodec(mse=400, lossless_bands=kept)
    array = zarr.create_array({}, data=pixels, serializer=codec, compressors=None, fill_value=0)
    same = [(array[band] == pixels[band]).all() for band in range(3)]
    assert same == [False, kept != "none", kept == "2-3"]
    with one_line(InputError, "not a list of bands"):
        IsoqCodec(mse=400, lossless_bands="two")

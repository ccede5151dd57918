"""The format as docs/format.md has it: golden streams decode for ever, by isoq and by a decoder
written from that page, and coding what they hold gives their bytes again."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import spec_decoder
from cases import DTYPES, crop, model, model_with_trellis, reduced_image, terrain

import isoq
from isoq.codec.reader import File
from isoq.codec.target import KINDS
from isoq.format.bytestream import Writer, pack_integers
from isoq.network.model import Model, load_model
from isoq.tile import lossless, masks, residual
from isoq.tile.quality_map import latent_levels, map_residuals
from isoq.tile.value_range import ValueRange

GOLDEN = sorted(Path(__file__).parent.glob("golden/*/*.isoq"))
NAMES = [f"{path.parent.name}-{path.stem}" for path in GOLDEN]
# Transforms that are graphs differ on another machine in the last digits of float32: so much of the
# central 98 % of the values. Wavelets are exact.
TOLERANCE = 1e-5

# The decoder of the page takes its time: other streams are coded again in the complete tests only.
QUICK = ("constant", "embedded", "hyperprior", "joint", "one-band", "predicted-float32", "uint8")

golden = pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
coded_again = pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=name, marks=[pytest.mark.slow] * (path.stem not in QUICK))
        for path, name in zip(GOLDEN, NAMES, strict=True)
    ],
)


@cache
def expected(path: Path) -> dict:
    return json.loads((path.parent / "expected.json").read_text())[path.stem]


def model_of(path: Path) -> Model:
    name = expected(path)["model"]
    own = path.parent / "models" / name
    return load_model(own if own.exists() else name)


@cache
def by_the_page(path: Path) -> spec_decoder.File:
    return spec_decoder.decode(path.read_bytes(), model_of(path).folder)


def by_isoq(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    file = File(io.BytesIO(path.read_bytes()))
    d, latents = file.description, []
    samples = np.empty((d.bands, d.rows, d.cols), d.dtype)
    for box, tile in file.tiles(model_of(path)):
        samples[
            box.band : box.band + box.bands,
            box.row : box.row + box.rows,
            box.col : box.col + box.cols,
        ] = tile.samples
        latents += tile.latents
    return samples, latents


def check(path: Path, samples: np.ndarray, latents: list[np.ndarray]) -> None:
    """Latents and what wavelets make of them are exactly what they were when the stream was made,
    samples of graphs all but exactly."""
    assert digest(*(q.astype("<i4") for q in latents)) == expected(path)["latents"]
    same = digest(samples) == expected(path)["pixels"]
    if model_of(path).wavelet is not None:
        assert same
    if same:
        return
    with np.load(path.parent / "pixels.npz") as pixels:
        wanted = pixels[path.stem]
    assert (samples.dtype, samples.shape) == (wanted.dtype, wanted.shape)
    finite = np.isfinite(wanted)
    assert samples[~finite].tobytes() == wanted[~finite].tobytes()
    off = np.abs(samples[finite].astype(np.float64) - wanted[finite])
    if samples.dtype.kind != "f" and samples.dtype.itemsize <= 2:
        assert off.max() <= 1
        return
    low, high = np.percentile(wanted[finite].astype(np.float64), (1, 99))
    assert (
        off <= TOLERANCE * (high - low + np.abs(wanted[finite])) + (samples.dtype.kind != "f")
    ).all()


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


@golden
def test_isoq_decodes_golden_streams(path):
    check(path, *by_isoq(path))


@golden
@pytest.mark.slow
def test_the_page_decodes_golden_streams(path):
    file = by_the_page(path)
    check(path, file.samples, [q for tile in file.tiles for group in tile.groups for q in group.q])


reduced = pytest.mark.parametrize(
    ("path", "factor"),
    [
        pytest.param(path, int(factor), id=f"{name}-{factor}")
        for path, name in zip(GOLDEN, NAMES, strict=True)
        for factor in expected(path).get("reduced", ())
    ],
)


@reduced
def test_isoq_reduces_golden_streams(path, factor):
    image = reduced_image(path.read_bytes(), model_of(path), factor.bit_length() - 1)
    assert digest(image) == expected(path)["reduced"][str(factor)]


@reduced
@pytest.mark.slow
def test_the_page_reduces_golden_streams(path, factor):
    folder = model_of(path).folder
    file = spec_decoder.decode(path.read_bytes(), folder, factor.bit_length() - 1)
    assert digest(file.samples) == expected(path)["reduced"][str(factor)]


@golden
@pytest.mark.slow
def test_isoq_reads_the_records(path):
    tiles = File(io.BytesIO(path.read_bytes())).tiles(model_of(path))
    for (_, tile), read in zip(tiles, by_the_page(path).tiles, strict=True):
        np.testing.assert_allclose(tile.report.per_block, read.errors)
        assert tile.report.patched == len(read.patches)
        assert (tile.report.target is None) == (not read.targets)
        if tile.report.target is not None:
            np.testing.assert_allclose(tile.report.target, read.goals)


@coded_again
def test_coding_again_gives_the_same_bytes(path, monkeypatch):
    """Frozen reconstructions of latents, levels, errors, patches in, the bytes of the tile out.
    What zlib and LZMA packed is compared unpacked, for their releases may pack otherwise."""
    coder, file = model_of(path), by_the_page(path)
    payloads = [
        payload for kind, payload in spec_decoder.chunks(path.read_bytes()) if kind == "TILE"
    ]
    for tile, payload in zip(file.tiles, payloads, strict=True):
        dtype, transformed = (
            tile.samples.dtype,
            [group for group in tile.groups if group.levels is not None],
        )
        out = Writer()
        out.pack("B", spec_decoder.TYPES.index(dtype.name) + 128 * (tile.ranges is not None))
        for number in (*tile.shape, tile.block // 16):
            out.varint(number)
        out.part(tile.mask)
        if tile.ranges is not None:
            limits = ValueRange.unpack(tile.ranges, len(tile.samples), dtype)
            out.part(limits.pack())
        out.part(tile.targets[:1] + pack_integers(np.diff(tile.steps, prepend=0)))
        for group in tile.groups:
            out.varint(8 * (group.bands.stop - group.bands.start) + group.mode)
            for number in (number for pair in group.normalization for number in pair):
                out.signed(number)
            if group.mode == spec_decoder.SPECTRAL:
                out.varint(len(group.steps))
                out.varint(group.precision)
                out.part(pack_integers(group.steps))
            if coder.wavelet is not None and group.levels is not None:
                out.varint(group.fraction)
            if group.mode == spec_decoder.CONSTANT:
                out.data += group.plane.tobytes()
            if group.mode == spec_decoder.LOSSLESS:
                out.part(group.lossless)
            if group.mode == spec_decoder.PREDICTIVE:
                out.part(group.predicted)
        maps = [map_residuals(group.levels).ravel() for group in transformed]
        out.part(
            pack_integers(np.concatenate([*maps, np.zeros(0, np.int32)]), tile.worst, tile.below)
        )
        write_latents(out, coder, transformed, tile.block, monkeypatch)
        patches = [residual.Patch(p.band, p.row, p.col, p.step, p.values) for p in tile.patches]
        out.part(residual.pack(patches, dtype))
        assert bytes(out.data) == payload
        again = masks.pack(tile.classes)
        assert (again[:1], inflated(again)) == (tile.mask[:1], inflated(tile.mask))
        for group in tile.groups:
            if group.mode == spec_decoder.LOSSLESS:
                assert unpacked(lossless.pack(group.plane), dtype) == unpacked(
                    group.lossless, dtype
                )


def write_latents(
    out: Writer,
    coder: Model,
    transformed: list[spec_decoder.Group],
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Code the latents of groups again, and append them with their checksums."""
    streams, check = [], 0
    for group in transformed:
        levels = latent_levels(group.levels, block, *group.q[0].shape[1:])
        for q, r, z in zip(group.q, group.r, group.z, strict=True):
            if z is None:
                coded = coder.encode(r, levels, 0)[0]
            else:
                found = z.astype(np.int32)
                monkeypatch.setattr(coder.entropy, "side_information", lambda y, z=found: z)
                coded = [coder.entropy.encode(r, levels)[0]]
            streams.append(coded)
            check = zlib.crc32(q.astype("<i4").tobytes(), check)
    for number, segments in enumerate(zip(*streams, strict=True), 1):
        for segment in segments:
            out.part(segment)
        if number < len(coder.segments(*levels.shape)):
            out.pack("I", zlib.crc32(out.data))
    out.pack("I", check)


def inflated(mask: bytes) -> bytes:
    return zlib.decompress(mask[1:]) if mask else b""


def unpacked(band: bytes, dtype: np.dtype) -> tuple[bytes, bytes]:
    """Return the fields before the LZMA stream of a lossless band, and what the stream holds."""
    fields = spec_decoder.Bytes(band)
    if fields.take(1) == b"\0":
        fields.take(fields.varint() * dtype.itemsize)
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 22}]
    return band[: fields.at], lzma.decompress(band[fields.at :], lzma.FORMAT_RAW, filters=filters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.slow
def test_the_page_decodes_what_is_written_today(dtype):
    pixels = terrain(2, 37, 70, dtype)
    pixels[0, 5:9, 60:] = 7
    data = isoq.compress(pixels, mse=9.0, nodata=7, block=32)
    samples, file = isoq.decompress(data), spec_decoder.decode(data, model().folder)
    latents = [tile.latents for _, tile in File(io.BytesIO(data)).tiles(model())]
    found = [[q for group in tile.groups for q in group.q] for tile in file.tiles]
    assert all(
        np.array_equal(a, b)
        for tile, other in zip(latents, found, strict=True)
        for a, b in zip(tile, other, strict=True)
    )
    assert samples.tobytes() == file.samples.tobytes()
    for level in (1, 4):
        reduced = spec_decoder.decode(data, model().folder, level).samples
        assert reduced.tobytes() == reduced_image(data, model(), level).tobytes()


@pytest.mark.slow
def test_the_page_decodes_a_trellis_of_the_model(tmp_path):
    folder = model_with_trellis(tmp_path / "m")
    data = isoq.compress(crop("sentinel2.tif")[:, :72, :92], mse=400.0, model=folder)
    samples = isoq.decompress(data, model=folder)
    assert samples.tobytes() == spec_decoder.decode(data, folder).samples.tobytes()


@pytest.mark.slow
def test_golden_streams_have_everything():
    files = [by_the_page(path) for path in GOLDEN]
    tiles = [tile for file in files for tile in file.tiles]
    groups = [group for tile in tiles for group in tile.groups]
    assert {file.samples.dtype.name for file in files} == set(spec_decoder.TYPES)
    assert {group.mode for group in groups} == set(range(6))
    assert {group.lossless[0] for group in groups if group.lossless} == {0, 1}
    assert {int(kind) for tile in tiles for kind in np.unique(tile.classes)} == set(range(6))
    assert {tile.mask[0] for tile in tiles if tile.mask} >= {0, 1, 5}
    assert {tile.ranges is not None for tile in tiles} == {True, False}
    assert {patch.step == 0 for tile in tiles for patch in tile.patches} == {True, False}
    assert {file.header["target"]["kind"] for file in files} == set(KINDS)
    assert {bool(tile.targets) for tile in tiles} == {True, False}
    assert {file.header["loop"] for file in files} == {"closed", "single"}
    assert {len(tile.ends) for tile in tiles} == {0, 3}
    assert len({group.fraction for group in groups if group.cuts}) > 1
    assert any(file.header["depth"] < len(file.samples) for file in files)
    assert any(len(group.normalization) > group.bands.stop - group.bands.start for group in groups)
    assert any(np.unique(group.levels).size > 5 for group in groups if group.levels is not None)


@pytest.mark.slow
def test_the_page_names_every_key():
    page = (Path(__file__).parents[1] / "docs" / "format.md").read_text()
    objects = [model_of(path).info for path in GOLDEN]
    for file in map(by_the_page, GOLDEN):
        objects += [
            file.header,
            file.header["image"],
            file.header["target"],
            file.meta,
            file.stat,
            file.stat.get("block_error", {}),
        ]
    assert {key for known in objects for key in known if f"`{key}`" not in page} == set()

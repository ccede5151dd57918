"""The C library by itself: built by several compilers, it decodes what isoq decodes, at all scales,
and takes neither harm nor memory from damaged files."""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from any_image import AnyImage, images
from cases import crop, model, model_with_trellis, modest, other_model, reduced_image
from hypothesis import given
from libisoq_binding import (
    ARGUMENT,
    DAMAGED,
    MEMORY,
    MODEL,
    UNSUPPORTED,
    Area,
    Failure,
    Library,
)
from test_container import SIGNATURE, chunk, pack_head

import isoq
from isoq.codec.reader import File
from isoq.network.model import load_model

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "libisoq"
PROGRAM = FOLDER / "isoq-decode.c"
SOURCES = sorted(set(FOLDER.glob("*.c")) - {PROGRAM})
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
INCLUDED = [f"-I{ROOT / 'src/isoq' / name}" for name in ("entropy", "wavelet")] + [f"-I{FOLDER}"]
LIBRARIES = ["-lz", "-llzma", "-lm"]
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

WAVELETS = [load_model(name).folder for name in ("eo16-3", "eo16-4", "eo16-5")]
GOLDEN = sorted((ROOT / "tests/golden").glob("*/*.isoq"))
DEFAULT = ROOT / "tests/golden" / model().name
# Of files of learned models, those without a tile that a transform codes.
UNTRANSFORMED = {
    *("constant", "lossless-float32", "predicted", "predicted-bound", "predicted-float32"),
    *("predicted-list", "predicted-mse"),
}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="options are those of gcc")


def expected(path: Path) -> dict:
    return json.loads((path.parent / "expected.json").read_text())[path.stem]


def is_decoded(path: Path) -> bool:
    name = expected(path)["model"]
    own = path.parent / "models" / name
    return path.stem in UNTRANSFORMED or load_model(own if own.exists() else name).wavelet


DECODED = [path for path in GOLDEN if is_decoded(path)]
LEARNED = [path for path in GOLDEN if not is_decoded(path)]


@cache
def compiler(name: str) -> str:
    """Return a compiler that finds the libraries, or skip the test."""
    found = shutil.which(name) or pytest.skip(f"there is no {name}")
    empty = "#include <zlib.h>\n#include <lzma.h>\nint main(void) { return 0; }\n"
    with tempfile.TemporaryDirectory() as folder:  # not all linkers write to /dev/null
        command = [found, "-x", "c", "-", "-o", f"{folder}/empty", *LIBRARIES]
        run = subprocess.run(command, input=empty, text=True, capture_output=True)
    if run.returncode:
        pytest.skip(f"{name} finds no zlib or liblzma")
    return found


def build(out: Path, cc: str, options: list[str], *sources: Path) -> Path:
    """Compile the library and other sources into one program."""
    return compiled(out, cc, options, *SOURCES, *sources)


def compiled(out: Path, cc: str, options: list[str], *sources: Path) -> Path:
    command = [compiler(cc), *STRICT, *INCLUDED, *sources, "-o", out, *options, *LIBRARIES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The library as a shared one."""
    out = tmp_path_factory.mktemp("library") / "libisoq.so"
    return build(out, "gcc", ["-O1", "-shared", "-fPIC"])


@pytest.fixture(scope="module")
def program(shared):
    """isoq-decode with the shared library."""
    options = [str(shared), f"-Wl,-rpath,{shared.parent}"]
    return compiled(shared.parent / "isoq-decode", "gcc", options, PROGRAM)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---- The program ----


def decodes_all_golden_files(program: Path, folder: Path, emulator: tuple[str, ...] = ()) -> None:
    """Check the samples of all files, and of their reduced images."""
    out = folder / "out.raw"
    assert len(DECODED) > 15
    for path in DECODED:
        folders = [option for folder in WAVELETS for option in ("-m", folder)]
        command = [*emulator, program, *folders]
        subprocess.run([*command, path, out], check=True, capture_output=True)
        assert digest(out) == expected(path)["pixels"], path
        for factor, pixels in expected(path).get("reduced", {}).items():
            scale = str(int(factor).bit_length() - 1)
            subprocess.run([*command, "-s", scale, path, out], check=True, capture_output=True)
            assert digest(out) == pixels, (path, factor)


def test_golden_files_decode(program, tmp_path):
    decodes_all_golden_files(program, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cc", "options"),
    [("gcc", "-O0"), ("gcc", "-O3"), ("gcc", "-O3 -DISOQ_PORTABLE"), ("clang", "-O2")],
)
def test_every_build_decodes_the_golden_files(cc, options, tmp_path):
    program = build(tmp_path / "isoq-decode", cc, options.split(), PROGRAM)
    decodes_all_golden_files(program, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cc", "emulator"),
    [("aarch64-linux-gnu-gcc", "qemu-aarch64"), ("x86_64-w64-mingw32-gcc", "wine")],
)
def test_other_machines_decode_the_golden_files(cc, emulator, tmp_path, monkeypatch):
    run = shutil.which(emulator) or pytest.skip(f"there is no {emulator}")
    monkeypatch.setenv("WINEDEBUG", "-all")
    program = build(
        tmp_path / "isoq-decode.exe", cc, ["-O2", "-static", "-DLZMA_API_STATIC"], PROGRAM
    )
    decodes_all_golden_files(program, tmp_path, (run,))


def test_the_program_prints_type_and_shape_and_interleaves(program, tmp_path):
    path, out = DEFAULT / "spectral.isoq", tmp_path / "out.raw"
    raw = []
    for options, order in (([], "band"), (["-p"], "pixel")):
        command = [program, *options, "-m", model().folder, path, out]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert done.stdout == f"uint16 3 72 92 {order}\n"
        raw.append(np.fromfile(out, np.uint16))
    assert (raw[0].reshape(3, 72, 92).transpose(1, 2, 0) == raw[1].reshape(72, 92, 3)).all()


def test_files_of_learned_models_are_refused_by_name(program, tmp_path):
    assert len(LEARNED) > 15
    for path in LEARNED:
        done = subprocess.run([program, path, tmp_path / "out"], capture_output=True, text=True)
        assert done.returncode == 1
        assert expected(path)["model"] in done.stderr
        assert not (tmp_path / "out").exists()


# ---- The library ----


@pytest.fixture(scope="module")
def library(shared):
    return Library(shared)


@pytest.fixture(scope="module")
def wavelets(library):
    return library.open_model(model().folder)


@modest(12)
@given(images(list(Library.TYPES)))
def test_any_image_decodes_as_isoq_decodes_it(library, wavelets, image: AnyImage):
    data = isoq.compress(
        image.samples, nodata=image.nodata, mask=image.mask, **image.target, **image.coding
    )
    file = library.open(data)
    library.use_model(file, wavelets)
    for scale in range(5):
        stored = reduced_image(data, model(), scale)
        found = library.decode(file, scale)
        if scale and stored.dtype.kind == "f":  # means of floats may differ in the last digit
            np.testing.assert_allclose(found, stored, rtol=1e-6)
        else:
            assert found.tobytes() == stored.tobytes()
    library.c.isoq_close(file)


def test_windows_bands_and_tiles_are_parts_of_the_image(library, wavelets, transformed):
    pixels = crop("sentinel2.tif")
    data = isoq.compress(pixels, mse=400, tile=64, block=16, joint="mean")
    file = library.open(data)
    library.use_model(file, wavelets)
    for scale in (0, 2):
        whole = library.decode(file, scale)
        area = Area(1, 7 >> scale, 30 >> scale, 2, 90 >> scale, 41 >> scale)
        rows, cols = (slice(a, a + n) for a, n in ((area.row, area.rows), (area.col, area.cols)))
        assert (library.decode(file, scale, area) == whole[1:3, rows, cols]).all()
        together = np.zeros_like(whole)
        for tile in range(library.describe(file).tiles):
            a = library.place_of_tile(file, tile, scale)
            rows, cols = slice(a.row, a.row + a.rows), slice(a.col, a.col + a.cols)
            together[a.band : a.band + a.bands, rows, cols] = library.decode(file, scale, a)
        assert (together == whole).all()


def test_the_description_says_what_the_image_is(library):
    pixels, mask = crop("sentinel2.tif")[:2, :40, :50], np.ones((40, 50), bool)
    mask[:, 30:] = False
    data = isoq.compress(pixels, mse=400, nodata=(7.0, None), mask=mask, embed_model=True)
    file, value = library.open(data), ctypes.c_double()
    image = library.describe(file)
    assert (image.bands, image.rows, image.cols, image.type, image.tiles) == (2, 40, 50, 1, 1)
    assert (image.model.decode(), image.has_model, image.has_mask) == (model().name, 1, 1)
    assert image.identity.decode() == model().identity
    assert library.c.isoq_nodata(file, 0, ctypes.byref(value)) == 1
    assert value.value == 7.0
    assert [library.c.isoq_nodata(file, band, ctypes.byref(value)) for band in (1, 2)] == [0, 0]
    assert json.loads(library.c.isoq_metadata(file)) == File(io.BytesIO(data)).description.metadata
    assert (library.decode(file, mask=True)[0].astype(bool) == mask).all()
    assert (library.decode(file, 1, mask=True)[0].astype(bool) == mask[::2, ::2]).all()


def test_a_file_may_bring_its_model_along(library, transformed):
    data = isoq.compress(crop("landsat.tif")[:, :70, :80], mse=4000, embed_model=True)
    file = library.open(data)
    assert (library.decode(file) == isoq.decompress(data)).all()


def test_a_model_may_have_a_trellis_of_its_own(library, tmp_path):
    folder, pixels = model_with_trellis(tmp_path / "m"), crop("landsat.tif")[:, :70, :80]
    data = isoq.compress(pixels, mse=4000, model=folder)
    file = library.open(data)
    library.use_model(file, library.open_model(folder))
    assert (library.decode(file) == isoq.decompress(data, model=folder)).all()


@pytest.mark.parametrize(
    ("number", "trellis"), [(1, [64, 38, 25]), (2, None), (2, [64, 38, 32]), (2, [64.0] * 3)]
)
def test_impossible_trellises_are_refused(library, tmp_path, number, trellis):
    folder = model_with_trellis(tmp_path / "m", number, trellis)
    with pytest.raises(Failure, match="impossible") as caught:
        library.open_model(folder)
    assert caught.value.code == MODEL


def test_another_model_is_refused(library, tmp_path):
    file = library.open((DEFAULT / "one-band.isoq").read_bytes())
    with pytest.raises(Failure, match="give the folder of that model") as caught:
        library.decode(file)
    assert caught.value.code == MODEL
    with pytest.raises(Failure, match=model().identity) as caught:
        library.use_model(file, library.open_model(other_model(tmp_path / "other")))
    assert caught.value.code == MODEL


def test_learned_models_are_refused(library):
    with pytest.raises(Failure, match="eo16-1 has learned transforms") as caught:
        library.open_model(load_model("eo16-1").folder)
    assert caught.value.code == MODEL
    file = library.open((ROOT / "tests/golden/v1/embedded.isoq").read_bytes())
    with pytest.raises(Failure, match="paper-1 has learned transforms"):
        library.decode(file)


def test_memory_beyond_the_limit_is_refused(library, wavelets, transformed):
    """And the limit that isoq.h names for samples is enough, where these take most of it."""
    for name, side, dtype in (("sentinel2.tif", 128, "uint16"), ("landsat.tif", 192, "float32")):
        pixels = crop(name)[:, :side, :side].astype(dtype)
        data = isoq.compress(pixels, mse=400, joint="mean")
        padded = pixels.size
        with pytest.raises(Failure) as caught:
            library.open(data, 100)
        assert caught.value.code == MEMORY
        for limit in (4 * padded, 42 * padded):
            file = library.open(data, limit)
            library.use_model(file, wavelets)
            if limit > 4 * padded:
                assert (library.decode(file) == isoq.decompress(data)).all()
                continue
            with pytest.raises(Failure, match="allow more") as caught:
                library.decode(file)
            assert caught.value.code == MEMORY


def test_impossible_arguments_are_refused(library):
    file = library.open((ROOT / "tests/golden/v1/predicted.isoq").read_bytes())
    inside, beyond = Area(0, 0, 0, 3, 40, 52), Area(0, 0, 1, 3, 40, 52)
    assert library.decode(file, 0, inside).shape == (3, 40, 52)
    for scale, area in ((0, beyond), (0, Area()), (5, None), (-1, None)):
        with pytest.raises(Failure) as caught:
            library.decode(file, scale, area)
        assert caught.value.code == ARGUMENT
    with pytest.raises(Failure, match="no such tile"):
        library.place_of_tile(file, 1, 0)


def test_the_example_of_the_page_runs(shared, tmp_path):
    page = (ROOT / "docs/c-library.md").read_text()
    (source := tmp_path / "mean.c").write_text(page.split("```c\n")[1].split("```")[0])
    options = [str(shared), f"-Wl,-rpath,{shared.parent}"]
    program = compiled(tmp_path / "mean", "gcc", options, source)
    path, folder = DEFAULT / "spectral.isoq", model().folder
    command = [program, path, folder / "model.json", folder / "decoder.npz"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    means = isoq.decompress(path.read_bytes()).mean((1, 2))
    assert done.stdout.split() == [f"{mean:.3f}" for mean in means]


# ---- Damage ----


@pytest.mark.parametrize("layout", [1, 3])
def test_every_truncation_is_refused(library, layout):
    """Of a file without a transform; up to the last byte that decoding needs."""
    data = (ROOT / "tests/golden/v1/lossless-float32.isoq").read_bytes()
    if layout == 3:
        data = isoq.compress(np.arange(600, dtype="uint16").reshape(1, 20, 30), lossless=True)
    assert data[16] == layout
    needed = data.index(b"stat") if layout == 1 else len(data)
    whole = library.decode(library.open(data[:needed]))
    assert whole.tobytes() == isoq.decompress(data).tobytes()
    for size in range(0, needed, 7):
        with pytest.raises(Failure) as caught:
            library.decode(library.open(data[:size]))
        assert caught.value.code == DAMAGED


@pytest.mark.parametrize("header", [b"\4", pack_head({"needs": ["moons"]})])
def test_files_for_newer_readers_are_refused(library, header):
    data = SIGNATURE + chunk(b"HEAD", header)
    with pytest.raises(Failure, match="use a newer library") as caught:
        library.open(data)
    assert caught.value.code == UNSUPPORTED

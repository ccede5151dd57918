"""Bad input: one line that names the culprit, status 2, and nothing left behind."""

import json
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from cases import DATA, crop, other_model, terrain
from images import make

from isoq.cli import COMMANDS, main


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with an image, its .isoq and things that look like them."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "scene.tif").write_bytes((DATA / "landsat.tif").read_bytes())
    assert main(["compress", str(folder / "scene.tif"), "--mse", "900", "--quiet"]) == 0
    packed = (folder / "scene.isoq").read_bytes()
    tiled = str(folder / "tiled.isoq")
    scene = str(folder / "scene.tif")
    assert main(["compress", scene, tiled, "--mse", "900", "--tile", "128", "--quiet"]) == 0
    (folder / "cut.isoq").write_bytes((folder / "tiled.isoq").read_bytes()[:-20])
    (folder / "short.isoq").write_bytes(packed[:300])
    (folder / "empty.isoq").write_bytes(b"")
    (folder / "text.isoq").write_text("no\nimage\n")
    (folder / "text.tif").write_text("no\nimage\n")
    (folder / "cut.tif").write_bytes((DATA / "landsat.tif").read_bytes()[:20000])
    flipped = bytearray(packed)
    flipped[-len(packed) // 2] ^= 1
    (folder / "flipped.isoq").write_bytes(flipped)
    (folder / "a.1_30_20_2_0_0.raw").write_bytes(bytes(1199))
    (folder / "a.1_30_20_9_0_0.raw").write_bytes(bytes(1200))
    (folder / "plain.raw").write_bytes(bytes(1200))
    make(folder / "complex.tif", np.zeros((1, 20, 20), "complex64"), crs="EPSG:3857")
    make(folder / "small.tif", terrain(1, 20, 20, "uint16"), crs="EPSG:3857")
    make(folder / "signed.tif", crop("landsat.tif").astype("int16"), crs="EPSG:3857")
    (folder / "folder").mkdir()
    other_model(folder / "other-1")
    (folder / "broken-1").mkdir()
    (folder / "broken-1" / "model.json").write_text("{}")
    return folder


def fails(capsys, folder, *arguments, status: int = 2) -> str:
    """The one line on standard error; nothing on standard output, no file made or changed."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # they would stand on standard error
        try:
            got = main([str(a) for a in arguments])
        except SystemExit as stop:
            got = stop.code
    out, err = capsys.readouterr()
    assert got == status, err
    assert out == ""
    assert err.startswith("isoq")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert "internal error" not in err
    assert re.search("; |must be|give ", err)  # what to do
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    return err


NEW, MSE = "new.isoq", ("--mse", "9")
COMPRESS = {
    "missing file": (("none.tif", NEW, *MSE), "none.tif"),
    "missing wildcard": (("*.jp2", *MSE), "*.jp2"),
    "text file": (("text.tif", NEW, *MSE), "text.tif"),
    "truncated image": (("cut.tif", NEW, *MSE), "cut.tif"),
    "folder as image": (("folder", NEW, *MSE), "folder"),
    "unsupported type": (("complex.tif", NEW, *MSE), "complex64"),
    "raw of another size": (("a.1_30_20_2_0_0.raw", NEW, *MSE), "1199 bytes"),
    "raw of unknown type": (("a.1_30_20_9_0_0.raw", NEW, *MSE), "type 9"),
    "raw without geometry": (("plain.raw", NEW, *MSE), "--geometry"),
    "wrong geometry": (("plain.raw", NEW, *MSE, "--geometry", "1_30_21_2_0_0"), "needs 1260"),
    "no geometry": (("plain.raw", NEW, *MSE, "--geometry", "1_30"), "geometry"),
    "unknown device": (("scene.tif", NEW, *MSE, "--device", "gpu"), "--device gpu"),
    "negative mse": (("scene.tif", NEW, "--mse", "-1"), "--mse -1"),
    "zero quality": (("scene.tif", NEW, "--quality", "0"), "--quality 0"),
    "infinite snr": (("scene.tif", NEW, "--snr", "inf"), "--snr inf"),
    "no number": (("scene.tif", NEW, "--mse", "much"), "much"),
    "two targets": (("scene.tif", NEW, *MSE, "--snr", "30"), "--snr"),
    "no target": (("scene.tif", NEW, "--quiet"), "--mse"),
    "peak without psnr": (("scene.tif", NEW, *MSE, "--peak", "255"), "--peak"),
    "bitrate out of reach": (("scene.tif", NEW, "--bitrate", "0.000001"), "--bitrate"),
    "block": (("scene.tif", NEW, *MSE, "--block", "60"), "--block 60"),
    "tile": (("scene.tif", NEW, *MSE, "--tile", "100"), "--tile 100"),
    "threads": (("scene.tif", NEW, *MSE, "--threads", "0"), "--threads 0"),
    "predictor": (("scene.tif", NEW, *MSE, "--predictor", "none"), "--predictor none"),
    "existing output": (("scene.tif", *MSE), "scene.isoq"),
    "existing output by name": (("small.tif", "cut.isoq", *MSE), "--overwrite"),
    "folder as output": (("scene.tif", "sub.isoq", *MSE), "is a folder"),
    "output in no folder": (("scene.tif", "none/new.isoq", *MSE), "none/new.isoq"),
    "file as --out": (("small.tif", *MSE, "--out", "text.tif"), "text.tif"),
    "name and --out": (("small.tif", NEW, *MSE, "--out", "folder"), "--out"),
    "unknown option": (("scene.tif", NEW, *MSE, "--best"), "--best"),
    "unknown model": (("scene.tif", NEW, *MSE, "--model", "none"), "none"),
    "broken model": (("scene.tif", NEW, *MSE, "--model", "broken-1"), "broken-1"),
}


@pytest.mark.parametrize("name", COMPRESS)
def test_compress(capsys, files, monkeypatch, name):
    monkeypatch.chdir(files)
    (files / "sub.isoq").mkdir(exist_ok=True)
    arguments, word = COMPRESS[name]
    assert word in fails(capsys, files, "compress", *arguments)


DECOMPRESS = {
    "missing file": (("none.isoq", "new.tif"), "none.isoq"),
    "text file": (("text.isoq", "new.tif"), "text.isoq"),
    "image": (("scene.tif", "new.tif"), "scene.tif"),
    "empty file": (("empty.isoq", "new.tif"), "empty.isoq"),
    "truncated header": (("short.isoq", "new.tif"), "short.isoq"),
    "altered tile": (("flipped.isoq", "new.tif"), "flipped.isoq"),
    "folder": (("folder", "new.tif"), "folder"),
    "wrong model": (("scene.isoq", "new.tif", "--model", "other-1"), "other-1"),
    "existing output": (("scene.isoq",), "scene.tif"),
    "unknown driver": (("scene.isoq", "new.tif", "--driver", "none"), "none"),
    "unknown option": (("scene.isoq", "new.tif", "--best"), "--best"),
    "raw name": (("scene.isoq", "new.1_30_20_2_0_0.raw"), "new.1_30_20_2_0_0.raw"),
    "folder as output": (("scene.isoq", "folder"), "is a folder"),
}


@pytest.mark.parametrize("name", DECOMPRESS)
def test_decompress(capsys, files, monkeypatch, name):
    monkeypatch.chdir(files)
    arguments, word = DECOMPRESS[name]
    assert word in fails(capsys, files, "decompress", *arguments)


OTHERS = {
    "info of nothing": ("info none.isoq", "none.isoq"),
    "info of text": ("info text.isoq", "text.isoq"),
    "info of a cut file": ("info cut.isoq", "truncated"),
    "verify nothing": ("verify none.isoq", "none.isoq"),
    "verify a cut file": ("verify cut.isoq", "truncated"),
    "verify an altered file": ("verify flipped.isoq", "checksum"),
    "verify by the wrong model": ("verify scene.isoq --model other-1", "other-1"),
    "verify against nothing": ("verify scene.isoq --against none.tif", "none.tif"),
    "verify against another size": ("verify scene.isoq --against small.tif", "another size"),
    "verify against another type": ("verify scene.isoq --against signed.tif", "int16"),
    "unknown model": ("models show none", "none"),
    "unknown action": ("models hide", "hide"),
    "unknown command": ("squeeze scene.tif", "squeeze"),
    "no command": ("", "COMMAND"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_commands(capsys, files, monkeypatch, name):
    monkeypatch.chdir(files)
    arguments, word = OTHERS[name]
    assert word in fails(capsys, files, *arguments.split())


def test_no_part_of_an_output_survives_a_failure(capsys, files, monkeypatch):
    monkeypatch.chdir(files)
    calls = []

    def encode(*arguments):
        calls.append(arguments)
        if len(calls) > 2:
            raise RuntimeError("first line\nsecond line")
        return encode_tile(*arguments)

    from isoq.tile.encode import encode_tile

    monkeypatch.setattr("isoq.codec.writer.encode_tile", encode)
    before = sorted(p.name for p in files.rglob("*"))
    assert main(["compress", "scene.tif", NEW, "--mse", "9", "--tile", "64", "--threads", "1"]) == 2
    assert sorted(p.name for p in files.rglob("*")) == before
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "isoq: scene.tif: internal error (RuntimeError: first line second line); please report it, "
        "with --debug"
    ]
    kept = (files / "scene.isoq").read_bytes()
    calls.clear()
    assert main(["compress", "scene.tif", "--mse", "9", "--tile", "64", "--overwrite"]) == 2
    assert (files / "scene.isoq").read_bytes() == kept
    with pytest.raises(RuntimeError):
        main(["compress", "scene.tif", NEW, "--mse", "9", "--tile", "64", "--debug"])
    assert sorted(p.name for p in files.rglob("*")) == before


def test_memory_and_interrupts(capsys, files, monkeypatch):
    monkeypatch.chdir(files)
    for error, status, lines in ((MemoryError(), 2, 1), (KeyboardInterrupt(), 130, 0)):
        monkeypatch.setattr(
            "isoq.codec.writer.encode_tile", lambda *a, error=error: (_ for _ in ()).throw(error)
        )
        assert main(["compress", "scene.tif", NEW, "--mse", "9"]) == status
        assert len(capsys.readouterr().err.splitlines()) == lines
        assert not (files / NEW).exists()


def test_packages_for_the_gpu_are_missing(capsys, files, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setitem(sys.modules, "isoq.network.torch_transform", None)
    assert "pip install 'isoq[gpu]'" in fails(
        capsys, files, "compress", "scene.tif", NEW, *MSE, "--model", "eo16-2", "--device", "cuda"
    )


def test_failure_among_several_keeps_what_is_done(capsys, files, tmp_path):
    packed = tmp_path / "packed"
    arguments = [
        "compress",
        str(files / "small.tif"),
        str(files / "text.tif"),
        "--mse",
        "9",
        "--out",
        str(packed),
        "--json",
    ]
    assert main(arguments) == 2
    assert [path.name for path in packed.iterdir()] == ["small.isoq"]
    assert "text.tif" in capsys.readouterr().err


def test_two_sources_one_output(capsys, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        make(tmp_path / folder / "x.tif", terrain(1, 20, 20, "uint8"), crs="EPSG:3857")
    assert (
        main(
            [
                "compress",
                str(tmp_path / "*/x.tif"),
                "--mse",
                "9",
                "--out",
                str(tmp_path / "c"),
                "--overwrite",
                "--json",
            ]
        )
        == 2
    )
    assert not json.loads(capsys.readouterr().out or "{}")


def test_a_broken_installation(capsys, monkeypatch):
    monkeypatch.setitem(COMMANDS, "compress", ("nonesuch", "of a package that is not there"))
    assert main(["compress", "a.tif", *MSE]) == 2
    assert capsys.readouterr().err.startswith("isoq: internal error (ModuleNotFoundError: ")
    with pytest.raises(ModuleNotFoundError):
        main(["compress", "--debug", "a.tif", *MSE])


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.slow
def test_debug_shows_where_an_error_comes_from(files, debug):
    call = [sys.executable, "-m", "isoq", "info", str(files / "short.isoq"), *["--debug"][:debug]]
    run = subprocess.run(call, capture_output=True, text=True)
    assert run.returncode != 0
    assert ("Traceback" in run.stderr) == debug
    assert (len(run.stderr.splitlines()) > 1) == debug

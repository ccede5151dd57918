"""Several files, options in any order, warnings, and what a page tells a person."""

import argparse
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from cases import DATA, terrain
from images import make

import isoq
from isoq.cli import COMMANDS, Terminated, _intermixed, _terminable, main
from isoq.codec.options import Options
from isoq.errors import IsoqWarning
from isoq.parallel import available_cores


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two images and their files, a damaged file, and a file that is no image."""
    folder = tmp_path_factory.mktemp("lists")
    for name in ("a", "b"):
        make(
            folder / f"{name}.tif",
            terrain(2, 64, 80, "uint16"),
            lambda d: (d.set_band_description(1, "red"), d.set_band_description(2, "nir")),
            crs="EPSG:32632",
            nodata=7,
        )
    arguments = ["compress", str(folder / "?.tif"), "--snr", "30", "--quiet"]
    assert main(arguments) == 0
    data = bytearray((folder / "b.isoq").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "damaged.isoq").write_bytes(data)
    (folder / "text.tif").write_text("no image")
    return folder


@pytest.fixture
def call(capsys, folder, monkeypatch):
    """Run a command in the folder: exit status, standard output, lines of standard error."""
    monkeypatch.chdir(folder)

    def call(text: str) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        try:
            status = main(text.split())
        except SystemExit as stop:
            status = stop.code
        out, err = capsys.readouterr()
        return status, out, err.splitlines()

    return call


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "good", "bad"),
    [
        ("info", "a.isoq b.isoq", "none.isoq"),
        ("verify", "a.isoq b.isoq", "damaged.isoq"),
        ("estimate --snr=30", "a.tif b.tif", "text.tif"),
    ],
)
def test_one_bad_file_does_not_stop_the_others(call, command, good, bad):
    first, second = good.split()
    status, out, err = call(f"{command} {first} {bad} {second}")
    assert status == 2
    assert first in out
    assert second in out
    assert bad not in out
    assert len(err) == 1
    assert err[0].startswith(f"isoq: {bad}: ")
    status, out, _ = call(f"{command} {first} {bad} {second} --json")
    assert status == 2
    entries = json.loads(out)["files"]
    assert {first, second} <= {entry["file"] for entry in entries if "error" not in entry}


@pytest.mark.slow
def test_a_list_is_compressed_and_decompressed_but_for_its_bad_file(call, tmp_path):
    status, out, err = call(f"compress a.tif text.tif b.tif --mse 25 --out {tmp_path}/packed")
    assert status == 2
    assert len(out.splitlines()) == 2
    assert len(err) == 1
    assert "text.tif" in err[0]
    status, out, err = call(f"decompress a.isoq damaged.isoq b.isoq --out {tmp_path}/images")
    assert status == 2
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["a.tif", "b.tif"]
    assert len(err) == 1
    assert "damaged.isoq" in err[0]


def test_a_name_without_a_file_does_not_stop_the_others(call):
    status, out, err = call("verify none*.isoq a.isoq missing.isoq")
    assert status == 2
    assert out.startswith("a.isoq: complete and undamaged")
    assert [line.split(":")[1].strip() for line in err] == ["none*.isoq", "missing.isoq"]


def test_a_pattern_stands_for_all_its_files(call):
    status, out, _ = call("verify [ab].isoq")
    assert status == 0
    assert len(out.splitlines()) == 2
    assert len(json.loads(call("info [ab].isoq --json")[1])["files"]) == 2
    assert "files" not in json.loads(call("info a.isoq --json")[1])


def test_originals_of_a_list_are_found_in_a_folder(call, folder, tmp_path):
    status, out, _ = call(f"verify a.isoq b.isoq --against {folder}")
    assert status == 0
    assert out.count("the recorded errors are true") == 2
    assert "is the original of a single file" in call("verify a.isoq b.isoq --against a.tif")[2][0]
    assert "has no image of this name" in call(f"verify a.isoq --against {tmp_path}")[2][0]


def test_originals_in_subfolders_are_those_of_the_same_place(call, folder, tmp_path, monkeypatch):
    pixels = {"2023/may": terrain(1, 64, 80, "uint16"), "2024/may": terrain(1, 70, 64, "uint16")}
    for place, image in pixels.items():
        for root in ("scenes", "archive"):
            (tmp_path / root / place).mkdir(parents=True)
        original = make(tmp_path / "scenes" / place / "a.tif", image)
        isoq.compress_file(original, tmp_path / "archive" / place / "a.isoq", mse=25)
    monkeypatch.chdir(tmp_path)
    verify = "verify archive/**/*.isoq --against scenes"
    status, out, _ = call(verify)
    assert status == 0
    assert out.count("the recorded errors are true") == 2
    (tmp_path / "archive/2024/may/a.isoq").rename(tmp_path / "archive/a.isoq")
    status, out, err = call(verify)
    assert status == 2
    assert out.count("the recorded errors are true") == 1
    assert "archive/a.isoq: scenes has 2 images of this name" in err[0]


def test_exit_statuses_of_verify(call, folder, tmp_path):
    """0: all is true; 1: a record is not true; 2: a file cannot be read."""
    other = make(tmp_path / "a.tif", terrain(2, 64, 80, "uint16")[:, ::-1].copy(), nodata=7)
    assert call("verify a.isoq")[0] == 0
    assert call(f"verify a.isoq --against {other}")[0] == 1
    assert call("verify damaged.isoq")[0] == 2
    make(tmp_path / "b.tif", terrain(2, 64, 80, "uint16"), nodata=7)
    assert call(f"verify a.isoq b.isoq --against {tmp_path}")[0] == 1
    assert call(f"verify a.isoq none.isoq --against {tmp_path}")[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "compress a.tif --mse 25 OUT/x.isoq",
        "compress --mse 25 a.tif OUT/x.isoq",
        "compress a.tif OUT/x.isoq --mse 25",
        "decompress --overwrite a.isoq --threads 1 OUT/x.tif",
        "verify --threads 1 a.isoq --quiet b.isoq",
        "bands --debug extract a.tif --group 1 OUT",
        "tile cut --size 64 a.tif --quiet OUT",
        "models --json show eo16",
    ],
)
def test_options_stand_anywhere(call, tmp_path, text):
    status, _, err = call(text.replace("OUT", str(tmp_path)))
    assert (status, err) == (0, [])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_page(call, command):
    status, out, err = call(f"{command} -h")
    assert (status, err) == (0, [])
    assert out.startswith(f"usage: isoq {command}")
    _, text = out.split("\n\n", 1)  # behind the usage, which argparse wraps
    assert max(map(len, text.splitlines())) <= 102


def test_arguments_of_nested_commands_are_parsed_by_the_last_one():
    parser = argparse.ArgumentParser()
    outer = parser.add_subparsers(dest="command")
    inner = outer.add_parser("a").add_subparsers(dest="action")
    last = inner.add_parser("b")
    last.add_argument("names", nargs="*")
    last.add_argument("--flag")
    options = _intermixed(parser, ["a", "b", "x", "--flag", "1", "y"])
    expected = {"command": "a", "action": "b", "names": ["x", "y"], "flag": "1", "debug": False}
    assert vars(options) == expected


def test_info_tells_reference_system_nodata_and_names_of_bands(call):
    out = call("info a.isoq")[1]
    for words in ("reference system: EPSG:32632", "nodata: 7", "band 1 (red)", "band 2 (nir)"):
        assert words in out


def test_a_model_is_shown_on_a_page(call):
    status, out, _ = call("models show eo16")
    assert status == 0
    assert 8 <= len(out.splitlines()) <= 24
    assert max(map(len, out.splitlines())) < 240
    assert "validation" in json.loads(call("models show eo16 --json")[1])


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("compress a.tif OUT/x.isoq --lossless --joint mean", "--joint"),
        ("compress a.tif OUT/x.isoq --lossless --single-pass", "--single-pass"),
        ("info a.isoq --model nowhere", "--model"),
        ("verify a.isoq --geometry 1_2_3_1_0_0", "--geometry"),
    ],
)
def test_an_option_without_effect_is_a_warning(call, tmp_path, text, option):
    status, _, err = call(text.replace("OUT", str(tmp_path)))
    assert status == 0
    assert len(err) == 1
    assert err[0].startswith(f"isoq: {option}: has no effect")


def test_warnings_of_the_library_are_lines(call, folder, monkeypatch):
    def info(path):
        warnings.warn("a.tif: `nodata` is ignored", IsoqWarning, stacklevel=2)
        raise AssertionError

    monkeypatch.setattr("isoq.cli.info.file_info", info)
    assert call("info a.isoq")[2][0] == "isoq: a.tif: --nodata is ignored"


def test_sigterm_is_an_exception_in_a_command():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), _terminable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity here")
def test_threads_follow_the_cpu_affinity():
    assert available_cores() == len(os.sched_getaffinity(0))
    assert Options().threads == available_cores()
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);"
        "from isoq.codec.options import Options; print(Options().threads)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from isoq.cli import main\n"
        "try: main(['-h'])\n"
        "except SystemExit: pass\n"
        "print(*{'numpy', 'rasterio', 'onnxruntime', 'torch', 'fsspec'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.slow
def test_raw_originals_are_images_too(call, tmp_path):
    pixels = np.arange(64 * 64, dtype="<u2").reshape(64, 64)
    Path(tmp_path, "x.1_64_64_2_1_0.raw").write_bytes(pixels.tobytes())
    assert call(f"estimate {tmp_path}/*.raw {DATA / 'landsat.tif'} --snr 30")[0] == 0

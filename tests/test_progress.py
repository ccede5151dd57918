"""Bars on a terminal, nothing elsewhere; the log of the library."""

import logging
import os
import re
import subprocess
import sys

import pytest
from cases import DATA

import isoq
from isoq.cli import main

pty = pytest.importorskip("pty")  # not on Windows, like the next one
termios = pytest.importorskip("termios")


def on_terminal(*arguments: object) -> str:
    """Return what a command shows on a terminal that is its standard error."""
    reading, writing = pty.openpty()
    termios.tcsetwinsize(writing, (24, 120))  # a new one has no columns, and so no bars
    with subprocess.Popen(
        [sys.executable, "-m", "isoq", *map(str, arguments)],
        stderr=writing,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"TQDM_MININTERVAL": "0", "TQDM_MINITERS": "1"},
    ) as process:
        os.close(writing)
        shown = b""
        try:
            while part := os.read(reading, 4096):
                shown += part
        except OSError:  # Linux says so when the other side is closed
            pass
    os.close(reading)
    assert process.returncode == 0, shown
    return shown.decode()


def shares(shown: str) -> list[int]:
    return [int(share) for share in re.findall(r"(\d+)%\|", shown)]


@pytest.mark.slow
def test_bars_move_from_tile_to_tile_with_rate_and_time(tmp_path):
    image, file = DATA / "landsat.tif", tmp_path / "a.isoq"
    for command in (
        ("compress", image, file, "--mse", "400", "--tile", "64"),
        ("decompress", file, tmp_path / "a.tif"),
        ("verify", file),
        ("estimate", image, "--mse", "100", "400", "--tile", "64"),
    ):
        shown = on_terminal(*command)
        assert len(set(shares(shown))) > 4, command
        assert shares(shown) == sorted(shares(shown))
        assert re.search(r"[\d.]+[kM]?pixel/s, \d\d:\d\d left", shown), command


@pytest.mark.slow
def test_the_bar_of_a_batch_counts_files_and_pixels(tmp_path):
    pytest.importorskip("distributed")
    out = tmp_path / "out"
    shown = on_terminal("batch", DATA, "--out", out, "--snr", "25", "--workers", "1")
    assert re.search(r"2\.0/3 files, [\d.]+ Mpixel/s, \d\d:\d\d left", shown)


def test_nothing_is_shown_where_there_is_no_terminal(tmp_path, capfd):
    image = DATA / "landsat.tif"
    assert main(["compress", str(image), str(tmp_path / "a.isoq"), "--mse", "400"]) == 0
    assert main(["estimate", str(image), "--mse", "400"]) == 0
    assert capfd.readouterr().err == ""


def test_an_estimate_reports_its_samples():
    seen = []
    targets = [isoq.Target("mse", 100.0), isoq.Target("mse", 400.0)]
    isoq.estimate(DATA / "landsat.tif", targets, tile=64, progress=lambda *now: seen.append(now))
    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(set(done))
    assert set(totals) == {done[-1]}


def test_files_are_logged_and_only_on_request(tmp_path, caplog, capfd):
    file = tmp_path / "a.isoq"
    with caplog.at_level(logging.INFO, "isoq"):
        isoq.compress_file(DATA / "landsat.tif", file, mse=400)
        isoq.decompress_file(file, tmp_path / "a.tif")
    first, second = caplog.messages
    assert first.startswith(f"{file}: {file.stat().st_size} bytes from ")
    assert second == f"{tmp_path / 'a.tif'}: 1 x 201 x 233 samples from {file}"
    assert {record.name.partition(".")[0] for record in caplog.records} == {"isoq"}
    assert capfd.readouterr() == ("", "")


def test_the_model_is_named_once(tmp_path, capsys):
    for name in ("a.tif", "b.tif", "c.tif"):
        (tmp_path / name).write_bytes((DATA / "landsat.tif").read_bytes())
    (tmp_path / "a.tif").write_bytes(b"no image")
    assert main(["compress", f"{tmp_path}/*.tif", "--mse", "400"]) == 2
    first, second = capsys.readouterr().out.splitlines()
    assert "b.isoq" in first
    assert "model eo16-5" in first
    assert "c.isoq" in second
    assert "model" not in second.partition(": ")[2]

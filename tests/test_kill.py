"""No part of an output ever has its final name, whatever ends the run: killed at any moment, or the
disk full."""

import itertools
import os
import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from cases import DATA, terrain
from images import make

from isoq.cli import Terminated, main
from isoq.raster.sink import Sink
from isoq.storage.local import expand

pytestmark = pytest.mark.slow

MOMENTS = 4
CODING = ("--mse", "50", "--tile", "64", "--single-pass")
OLD = b"what was there before"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with an image of many small tiles and its .isoq."""
    folder = tmp_path_factory.mktemp("files")
    make(folder / "scene.tif", terrain(1, 256, 256, "uint16"), crs="EPSG:3857")
    assert main(["compress", str(folder / "scene.tif"), *CODING, "--quiet"]) == 0
    return folder


def arguments_of(command: str, files: Path, destination: Path, *options: str) -> list[str]:
    source, target = ("scene.tif", CODING) if command == "compress" else ("scene.isoq", ())
    return [command, str(files / source), str(destination), *target, "--quiet", *options]


def start(arguments: list[str], **how) -> subprocess.Popen:
    """Start a command as users do: its output is buffered, whatever the environment of the
    tests."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return subprocess.Popen(
        [sys.executable, "-m", "isoq", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **how,
    )


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Return the content of a folder: files with their bytes, folders without."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


@pytest.mark.parametrize(("command", "name"), [("compress", "new.isoq"), ("decompress", "new.tif")])
def test_killed_at_any_moment(files, tmp_path, command, name):
    destination = tmp_path / name
    arguments = arguments_of(command, files, destination, "--overwrite")
    began = time.monotonic()
    assert start(arguments).wait() == 0
    duration, new = time.monotonic() - began, destination.read_bytes()
    destination.unlink()
    draw, killed = random.Random(0), 0
    moments = [None, None, *(duration * (k + draw.random()) / MOMENTS for k in range(MOMENTS))]
    for moment, old in zip(moments, itertools.cycle([None, OLD])):
        destination.unlink(missing_ok=True)
        if old:
            destination.write_bytes(old)
        before = contents(tmp_path)
        with start(arguments) as run:
            if moment is None:  # as soon as it writes anything
                while contents(tmp_path) == before and run.poll() is None:
                    time.sleep(0.001)
            else:
                time.sleep(moment)
            run.kill()
        killed += run.returncode == -signal.SIGKILL
        assert contents(tmp_path).get(destination) in (old, new)
    assert killed >= 2, "most runs ended before"
    leftovers = [path for path in tmp_path.iterdir() if path != destination]
    assert leftovers  # something was killed while it wrote
    assert set(expand([f"{tmp_path}/**/*"])) <= {destination}  # no wildcard meets them
    assert main(arguments) == 0  # and no later run
    assert destination.read_bytes() == new


@contextmanager
def limited(folder: Path, size: int):
    """No file may have more than `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (size, hard)
    )  # Python ignores the signal that comes with it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path, size: int):
    """A disk of so many bytes at `folder`. Skips the test where nothing may be mounted."""
    call = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(call, capture_output=True).returncode:
        pytest.skip("no permission to mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


OUTPUTS = {
    "isoq": ("compress", "new.isoq", ()),
    "GTiff": ("decompress", "new.tif", ()),
    "COG": ("decompress", "new.tif", ("--driver", "COG")),
    "raw": ("decompress", "new.1_256_256_2_1_0.raw", ()),
}


@pytest.mark.parametrize(
    ("short_of", "missing"), [(limited, "half"), (limited, "a byte"), (small_disk, "half")]
)
@pytest.mark.parametrize("output", OUTPUTS)
def test_full_disk(files, tmp_path, capfd, output, short_of, missing):
    command, name, options = OUTPUTS[output]
    complete, disk = tmp_path / name, tmp_path / "disk"
    disk.mkdir()
    assert main(arguments_of(command, files, complete, *options)) == 0
    size = complete.stat().st_size
    with short_of(disk, size // 2 if missing == "half" else size - 1):
        destination = disk / name
        destination.write_bytes(OLD)
        capfd.readouterr()
        assert main(arguments_of(command, files, destination, *options, "--overwrite")) == 2
        assert [path.name for path in disk.iterdir()] == [name]
        assert destination.read_bytes() == OLD
    out, err = capfd.readouterr()
    assert out == ""
    *others, last = err.splitlines()
    assert last.startswith("isoq: ")
    assert f"{destination}: " in last
    assert "free space" in last
    assert (
        output in ("GTiff", "COG") or not others
    )  # libtiff says something of its own, to the descriptor


@pytest.mark.parametrize("command", ["info", "verify"])
def test_full_standard_output(files, command):
    with (
        open("/dev/full", "w") as full,
        start([command, str(files / "scene.isoq"), "--json"], stdout=full) as run,
    ):
        err = run.stderr.read()
    assert run.returncode == 2
    assert len(err.splitlines()) == 1
    assert "No space left" in err
    assert "internal" not in err


@pytest.mark.parametrize("command", ["info", "verify"])
def test_a_reader_of_the_output_that_has_gone(files, command):
    reading, writing = os.pipe()
    os.close(reading)
    with start([command, str(files / "scene.isoq"), "--json"], stdout=writing) as run:
        os.close(writing)
        assert run.stderr.read() == ""
    assert run.returncode == 0


@pytest.mark.parametrize(("command", "name"), [("compress", "new.isoq"), ("decompress", "new.tif")])
def test_nothing_is_left_after_sigterm(files, tmp_path, command, name):
    """Temporary files are removed, and an output that was there before stays."""
    destination = tmp_path / name
    destination.write_bytes(OLD)
    before = contents(tmp_path)
    with start(arguments_of(command, files, destination, "--overwrite")) as run:
        while contents(tmp_path) == before and run.poll() is None:
            time.sleep(0.001)
        run.terminate()
    after = contents(tmp_path)
    assert set(after) == {destination}
    assert run.returncode in (0, 143)
    assert (run.returncode == 143) == (after[destination] == OLD)


@pytest.mark.parametrize("interruption", [Terminated, KeyboardInterrupt])
def test_nothing_is_left_by_a_signal_between_the_last_write_and_the_cleanup(
    files, tmp_path, monkeypatch, interruption
):
    def interrupted(*_):
        raise interruption

    monkeypatch.setattr(Sink, "__exit__", interrupted)
    assert main(arguments_of("decompress", files, tmp_path / "new.tif")) > 128
    assert contents(tmp_path) == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_no_worker_of_a_comparison_outlives_it(tmp_path):
    for package in ("imagecodecs", "matplotlib", "scipy"):
        pytest.importorskip(package)
    arguments = [
        "--crop",
        "512",
        "--peers",
        "jpeg2000",
        "--snr",
        "45",
        "--threads",
        "2",
        "--quiet",
        "--out",
        str(tmp_path / "o"),
    ]
    command = [sys.executable, "-m", "isoq", "evaluate", str(DATA / "landsat.tif"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        workers = wait_for(
            lambda: [
                pid for pid in children(process.pid) if b"--multiprocessing-fork" in command_of(pid)
            ]
        )
        process.kill()
    wait_for(lambda: not any(command_of(pid) for pid in workers))


def wait_for(found):
    """What `found` returns as soon as it is something."""
    for _ in range(1200):
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError("waited for a minute")


def children(pid: int) -> list[int]:
    return [
        int(p.name)
        for p in Path("/proc").glob("[0-9]*")
        if f"PPid:\t{pid}\n" in text_of(p / "status")
    ]


def command_of(pid: int) -> bytes:
    """Nothing for a process that has ended."""
    return text_of(Path(f"/proc/{pid}/cmdline")).encode()


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

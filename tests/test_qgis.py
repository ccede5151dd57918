"""A VRT in QGIS, by its own Python and by its command line."""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cases import terrain
from images import make

import isoq
from isoq.ecosystem.vrt import SETTING, write_vrt

pytestmark = pytest.mark.slow

SOURCE = str(Path(isoq.__file__).parent.parent)
PYTHON = "/usr/bin/python3"  # the distribution's, which QGIS uses
# Debian's `qgis_process` is a script that passes an option of `qgis` on, which the program refuses.
PROGRAM = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
ENVIRONMENT = {
    **os.environ,
    **SETTING,
    "PYTHONPATH": os.pathsep.join([SOURCE, sysconfig.get_path("purelib")]),
    "PATH": os.defpath,  # QGIS crashes if it finds the Python of a virtual environment first
    "QT_QPA_PLATFORM": "offscreen",
}


def run(*command: object) -> str:
    """Run a command in QGIS's environment and return what it prints."""
    words = [str(word) for word in command]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def qgis():
    """Skips where QGIS's Python has no QGIS, or no isoq."""
    if not PROGRAM:
        pytest.skip("needs QGIS; apt-get install --no-install-recommends qgis python3-qgis")
    tried = [PYTHON, "-c", "import isoq.ecosystem.vrt, qgis.core"]
    done = subprocess.run(tried, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{PYTHON}: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The decoded samples of a file, and the VRT of it."""
    folder = tmp_path_factory.mktemp("qgis")
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 52e5)}
    source = make(folder / "a.tif", terrain(3, 300, 260, "uint8"), **place)
    isoq.compress_file(source, folder / "a.isoq", rmse=4, tile=128)
    write_vrt(folder / "a.isoq", folder / "a.vrt")
    return folder / "a.isoq", folder / "a.vrt"


def test_a_layer_has_the_samples_of_the_file_and_shows_them(scene, tmp_path):
    file, vrt = scene
    run(PYTHON, Path(__file__).with_name("qgis_layer.py"), vrt, tmp_path)
    found = np.load(tmp_path / "read.npz")
    samples = isoq.decompress(file.read_bytes())
    assert (found["whole"] == samples).all()
    assert (found["window"] == samples[:, 20:170, 30:130]).all()
    assert (np.moveaxis(found["shown"], -1, 0) == samples).all()
    with isoq.open(file) as src:
        reduced = src.read(out_shape=(75, 65))
    assert (found["reduced"] == reduced).all()
    assert (np.moveaxis(found["overview"], -1, 0) == reduced).all()


def test_the_tools_of_qgis_compute_with_the_samples_of_the_file(scene):
    file, vrt = scene
    statistics = "native:rasterlayerstatistics"
    printed = run(PROGRAM, "run", statistics, "--", f"INPUT={vrt}", "BAND=2")
    found = dict(re.findall(r"^([A-Z]+):\t(.+)$", printed, re.M))
    samples = isoq.decompress(file.read_bytes())[1]
    assert (int(found["MIN"]), int(found["MAX"])) == (samples.min(), samples.max())
    assert float(found["MEAN"]) == pytest.approx(samples.mean())

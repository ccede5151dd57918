"""The command line: the files and lines that it writes when all is well. test_cli_errors has its
errors."""

import hashlib
import json
import warnings

import numpy as np
import pytest
import rasterio
from cases import CROPS, DATA, crop, model, terrain
from images import make

import isoq
from isoq.cli import main
from isoq.format.container import ContainerReader, ContainerWriter

GOLDEN = DATA.parent / "golden" / "v1"


@pytest.fixture
def run(capsys):
    def call(*arguments, status=0) -> tuple[str, str]:
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # they would stand on standard error
            try:
                got = main([str(a) for a in arguments])
            except SystemExit as stop:
                got = stop.code
        out, err = capsys.readouterr()
        assert got == status, err
        return out, err

    return call


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "scene.tif"
    path.write_bytes((DATA / "landsat.tif").read_bytes())
    return path


def test_there_and_back(run, scene, tmp_path):
    out, err = run("compress", scene, "--mse", 900)
    packed = scene.with_suffix(".isoq")
    assert err == ""
    assert out.startswith(f"{packed}: {packed.stat().st_size} bytes, ")
    assert len(out.splitlines()) == 1
    out, err = run("decompress", packed, tmp_path / "back.tif")
    assert (out, err) == (f"{tmp_path / 'back.tif'}: 1 x 201 x 233 uint16\n", "")
    with rasterio.open(scene) as one, rasterio.open(tmp_path / "back.tif") as two:
        assert (one.crs, one.transform) == (two.crs, two.transform)
        mse = ((one.read().astype(float) - two.read()) ** 2).mean()
        assert np.array_equal(two.read(), isoq.decompress(packed.read_bytes()))
    assert 900 / 1.6 < mse < 900 * 1.6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["back.tif", "scene.isoq", "scene.tif"]


@pytest.mark.parametrize(
    "option", [("--rmse", 30), ("--psnr", 60), ("--snr", 30), ("--quality", 0.01), ("--bitrate", 2)]
)
@pytest.mark.slow
def test_targets_and_options(run, scene, option):
    named = scene.with_name("other.isoq")
    run(
        "compress",
        scene,
        named,
        *option,
        "--block",
        32,
        "--tile",
        128,
        "--threads",
        2,
        "--predictor",
        "isoq",
        "--model",
        "eo16-5",
    )
    facts = json.loads(run("info", named, "--json")[0])
    assert facts["target"] == {"kind": option[0][2:], "value": option[1]}
    assert (facts["tile"], facts["model"][0]) == (128, model().name)
    assert facts["blocks"] == 7 * 8


@pytest.mark.slow
def test_info_tells_the_block_size(run, scene):
    run("compress", scene, "--mse", 900, "--block", 32)
    assert json.loads(run("info", scene.with_suffix(".isoq"), "--json")[0])["block"] == 32


@pytest.mark.slow
def test_provenance(run, scene, tmp_path):
    run("compress", scene, tmp_path / "a.isoq", "--mse", 900, "--model", "eo16-5")
    digest = hashlib.sha256(scene.read_bytes()).hexdigest()
    facts = json.loads(run("info", tmp_path / "a.isoq", "--json")[0])
    assert facts["source"] == {"name": "scene.tif", "sha256": digest}
    assert facts["software"] == f"isoq {isoq.__version__}"
    assert facts["model"] == ["eo16-5", model().identity]
    assert f"source: scene.tif, SHA-256 {digest}\n" in run("info", tmp_path / "a.isoq")[0]
    (tmp_path / "b.isoq").write_bytes(isoq.compress(crop("landsat.tif"), mse=900))
    assert "source" not in json.loads(run("info", tmp_path / "b.isoq", "--json")[0])


def test_json_is_one_object(run, scene, tmp_path):
    value = json.loads(run("compress", scene, "--psnr", 50, "--peak", 20000, "--json")[0])
    (entry,) = value["files"]
    packed = tmp_path / "scene.isoq"
    assert entry["source"] == str(scene)
    assert entry["file"] == str(packed)
    assert entry["bytes"] == packed.stat().st_size
    assert entry["bits_per_sample"] == pytest.approx(8 * entry["bytes"] / (201 * 233), abs=1e-3)
    assert entry["target_mse"] == [4000]
    value = json.loads(run("decompress", packed, "--out", tmp_path / "new", "--json")[0])
    back = str(tmp_path / "new" / "scene.tif")
    assert value == {
        "files": [
            {
                "file": str(packed),
                "image": back,
                "bands": 1,
                "rows": 201,
                "cols": 233,
                "dtype": "uint16",
            }
        ]
    }
    facts = json.loads(run("info", packed, "--json")[0])
    assert facts["mse"] == entry["mse"]
    assert facts["metadata"]["crs"] == "EPSG:32616"
    assert facts["snr"][0] == pytest.approx(
        10 * np.log10(facts["variance"][0] / facts["mse"][0]), abs=0.01
    )
    assert json.loads(run("verify", packed, "--json")[0]) == {
        "file": str(packed),
        "against": None,
        "problems": [],
        "lost": [],
    }
    names = [entry["name"] for entry in json.loads(run("models", "--json")[0])["models"]]
    assert "eo16-4" in names
    shown = json.loads(run("models", "show", "eo16", "--json")[0])
    assert shown["identity"] == facts["model"][1]


def test_info_and_models_for_people(run, scene):
    run("compress", scene, "--mse", 900, "--quiet")
    out, err = run("info", scene.with_suffix(".isoq"))
    assert err == ""
    for words in (
        "1 x 201 x 233 uint16",
        "target: mse 900",
        "16 blocks",
        "band 1: MSE",
        "under its target",
    ):
        assert words in out
    assert model().identity in run("models")[0]


@pytest.mark.parametrize(
    ("coder", "mode"),
    [("eo16-2", "transform"), ("eo16-4", "transform"), (GOLDEN / "models" / "paper-1", "network")],
)
def test_info_says_network_only_where_one_coded(run, scene, transformed, coder, mode):
    run("compress", scene, "--mse", 900, "--single-pass", "--model", coder, "--quiet")
    packed = scene.with_suffix(".isoq")
    assert json.loads(run("info", packed, "--json")[0])["modes"] == {mode: 1.0}
    assert f"coded: 100 % {mode}\n" in run("info", packed)[0]
    assert "eural" not in run("info", packed)[0]


def test_info_translates_the_name_of_the_first_files(run):
    modes = json.loads(run("info", GOLDEN / "lossless.isoq", "--json")[0])["modes"]
    assert modes == {"transform": 0.333333, "lossless": 0.666667}


@pytest.mark.slow
def test_quiet(run, scene):
    assert run("compress", scene, "--mse", 900, "--quiet") == ("", "")
    assert run("decompress", scene.with_suffix(".isoq"), scene.with_name("b.tif"), "--quiet") == (
        "",
        "",
    )
    assert run("verify", scene.with_suffix(".isoq"), "--quiet") == ("", "")


@pytest.mark.slow
def test_wildcards_and_folders(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif", "[c].tif"):
        make(tmp_path / name, terrain(1, 40, 50, "uint8"), crs="EPSG:3857")
    out, _ = run("compress", "?.tif", "[c].tif", "a.tif", "--mse", 9, "--out", "deep/packed")
    assert sorted(p.name for p in (tmp_path / "deep/packed").iterdir()) == [
        "[c].isoq",
        "a.isoq",
        "b.isoq",
    ]
    assert len(out.splitlines()) == 3  # each once
    out, _ = run("decompress", "deep/**/*.isoq", "--out", "back")
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == ["[c].tif", "a.tif", "b.tif"]
    assert len(out.splitlines()) == 3


@pytest.mark.slow
def test_overwrite(run, scene):
    run("compress", scene, "--mse", 9000)
    coarse = scene.with_suffix(".isoq").stat().st_size
    run("compress", scene, "--mse", 90, "--overwrite")
    assert scene.with_suffix(".isoq").stat().st_size > coarse
    run("decompress", scene.with_suffix(".isoq"), "--overwrite")
    with rasterio.open(scene) as back:
        assert not np.array_equal(back.read(), crop("landsat.tif"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.b.2_30_20_2_0_0.raw", "A.2_30_20_2_1_0.RAW"])
def test_raw_names(run, tmp_path, name):
    pixels = terrain(2, 20, 30, "uint16")
    (tmp_path / name).write_bytes(pixels.astype("<u2" if "_1_0." in name else ">u2").tobytes())
    run("compress", tmp_path / name, "--mse", 5)
    packed = tmp_path / f"{name.split('.2_')[0]}.isoq"
    run("decompress", packed, "--out", tmp_path / "back")
    (back,) = (tmp_path / "back").iterdir()
    assert back.name.lower() == name.lower()
    run("verify", packed, "--against", tmp_path / name)
    found = np.frombuffer(back.read_bytes(), "<u2" if "_1_0." in name else ">u2").reshape(
        pixels.shape
    )
    assert np.abs(found.astype(int) - pixels).max() < 60


def test_geometry(run, tmp_path):
    pixels = terrain(1, 20, 30, "int16")
    (tmp_path / "plain.bin").write_bytes(pixels.astype("<i2").tobytes())
    run("compress", tmp_path / "plain.bin", "--mse", 5, "--geometry", "1_30_20_3_1_0")
    run(
        "verify",
        tmp_path / "plain.isoq",
        "--against",
        tmp_path / "plain.bin",
        "--geometry",
        "1_30_20_3_1_0",
    )
    run("decompress", tmp_path / "plain.isoq", tmp_path / "plain.tif", "--driver", "COG")
    with rasterio.open(tmp_path / "plain.tif") as back:
        assert back.dtypes == ("int16",)
        assert back.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"


@pytest.mark.parametrize("name", CROPS)
@pytest.mark.slow
def test_verify(run, tmp_path, name):
    packed = tmp_path / "a.isoq"
    run("compress", DATA / name, packed, "--snr", 30)
    assert "complete and undamaged" in run("verify", packed)[0]
    assert "recorded errors are true" in run("verify", packed, "--against", DATA / name)[0]


@pytest.mark.slow
def test_verify_against_another_image(run, scene, tmp_path):
    run("compress", scene, "--snr", 30)
    other = make(tmp_path / "other.tif", np.roll(crop("landsat.tif"), 5, 1))
    packed = scene.with_suffix(".isoq")
    out, err = run("verify", packed, "--against", other, status=1)
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "not true" in err
    out, err = run("verify", packed, "--against", other, "--json", status=1)
    assert any("not true" in problem for problem in json.loads(out)["problems"])
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_verify_a_summary_that_lies(run, scene, tmp_path):
    run("compress", scene, "--snr", 30, "--quiet")
    packed = scene.with_suffix(".isoq")
    with packed.open("rb") as stream:
        reader = ContainerReader(stream)
        statistics = reader.statistics()
        with (tmp_path / "lie.isoq").open("w+b") as out:
            writer = ContainerWriter(out, reader.header, reader.metadata, 1)
            writer.tile(reader.tile(0))
            writer.finish(statistics | {"mse": [statistics["mse"][0] / 2]})
    out, err = run("verify", tmp_path / "lie.isoq", status=1)
    assert out == ""
    assert "summary does not fit" in err


@pytest.mark.slow
def test_out_of_reach_is_said(run, tmp_path, transformed):
    path = make(tmp_path / "a.tif", terrain(1, 70, 70, "float32"), crs="EPSG:3857")
    out, err = run("compress", path, "--mse", 1e-8)
    assert len(out.splitlines()) == 1
    assert err == ""  # patched, and so within its target
    assert json.loads(run("info", path.with_suffix(".isoq"), "--json")[0])["patched"] == 4
    _, err = run("compress", path, "--mse", 1e-8, "--single-pass", "--overwrite")
    assert len(err.splitlines()) == 1
    assert "out of reach: 4 of 4 blocks" in err


@pytest.mark.parametrize("command", ["", "compress", "decompress", "info", "verify", "models"])
def test_help(run, command):
    out, err = run(*command.split(), "-h")
    assert out.startswith(f"usage: isoq {command}".rstrip())
    assert err == ""
    assert command in ("", "info") or f"isoq {command}" in out[out.index("example") :]


def test_version(run):
    assert run("--version")[0] == f"isoq {isoq.__version__}\n"


@pytest.mark.slow
def test_compress_says_which_model(run, scene, tmp_path):
    said = run("compress", scene, "--mse", 900, "--out", tmp_path / "a")[0]
    assert "model eo16-5 (the newest one" in said
    said = run("compress", scene, "--mse", 900, "--model", "eo16-4", "--out", tmp_path / "b")[0]
    assert "newest one" not in said
    assert (
        json.loads(run("compress", scene, "--mse", 900, "--out", tmp_path / "c", "--json")[0])[
            "files"
        ][0]["model"]
        == "eo16-5"
    )


def test_a_table_of_blocks_replaces_no_file(run, scene):
    run("compress", scene, "--mse", 900)
    out, err = run("info", scene.with_suffix(".isoq"), "--blocks", scene, status=2)
    assert (out, err) == ("", f"isoq: --blocks {scene}: exists already; choose another name\n")
    assert scene.read_bytes() == (DATA / "landsat.tif").read_bytes()

"""The records of a file have to be true, and are checked again."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from cases import crop, model, terrain

from isoq.cli import main
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.verify import verify_against
from isoq.codec.writer import compress_to
from isoq.errors import InputError
from isoq.format.container import ContainerReader, ContainerWriter
from isoq.samples import to_type
from isoq.tile.report import TileReport, joint_ratio

pytestmark = pytest.mark.usefixtures("transformed")


def coded(
    image: np.ndarray, target: Target, nodata: float | None = None, **options
) -> tuple[dict, bytes]:
    out = io.BytesIO()
    summary = compress_to(out, ArraySource(image, nodata), target, model(), Options(**options))
    return summary, out.getvalue()


def rewritten(data: bytes, edit) -> File:
    """The file with another header and summary, its checksums right; edit(header, summary) changes
    them."""
    old, out = ContainerReader(io.BytesIO(data)), io.BytesIO()
    header, summary = dict(old.header), dict(old.statistics())
    edit(header, summary)
    writer = ContainerWriter(out, header, old.metadata, len(old.sizes))
    for number in range(len(old.sizes)):
        writer.tile(old.tile(number))
    writer.finish(summary)
    return File(io.BytesIO(out.getvalue()))


def lower_error(header, summary):
    summary["mse"] = [value / 10 for value in summary["mse"]]


def easier_target(header, summary):
    summary["target_mse"] = [1e9]


def closed(header, summary):
    header["loop"] = "closed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "words"),
    [(lower_error, "error of a band"), (easier_target, "target"), (closed, "above their target")],
)
def test_a_forged_summary_is_found_out(edit, words):
    image = crop("landsat.tif")
    _, data = coded(image, Target("snr", 30), single_pass=True)
    assert verify_against(File(io.BytesIO(data)), ArraySource(image), model(), 1) == []
    problems = verify_against(rewritten(data, edit), ArraySource(image), model(), 1)
    assert any(words in problem for problem in problems)


def test_infinities_are_compared_too():
    image = terrain(1, 70, 80, "float32")
    image[0, 3, 4] = np.inf
    _, data = coded(image, Target("mse", 20.0))
    other = image.copy()
    other[0, 3, 4] = -np.inf
    file = File(io.BytesIO(data))
    assert verify_against(file, ArraySource(image), model(), 1) == []
    assert any(
        "infinities" in problem for problem in verify_against(file, ArraySource(other), model(), 1)
    )


def test_masked_blocks_are_not_called_better_than_asked():
    image = terrain(1, 256, 256, "uint16")
    image[0, :, :128] = 0
    summary, _ = coded(image, Target("mse", 400.0), 0)
    assert summary["blocks"] == 8
    assert summary["floor_limited"] == 0


def test_blocks_that_vary_less_than_the_target_are():
    summary, _ = coded(terrain(1, 128, 128, "uint16"), Target("mse", 1e5))
    assert summary["floor_limited"] == 4


def test_bands_coded_jointly_are_held_to_their_mean():
    relative = np.array([[[1.2]], [[0.6]]])
    assert joint_ratio(relative, per_band=False).tolist() == [[pytest.approx(0.9)]]
    assert joint_ratio(relative, per_band=True).tolist() == [[1.2]]
    from isoq.codec.summary import Summary
    from isoq.codec.target import BandStatistics

    summary = Summary(2, np.ones(2), learned=False)
    report = TileReport(
        np.ones(2), np.ones(2), relative, relative=joint_ratio(relative, per_band=False)[None]
    )
    summary.add(report, BandStatistics.empty(2), slice(0, 2))
    assert summary.to_dict()["above"] == 0
    assert summary.to_dict()["blocks"] == 1


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_what_overflowed_in_a_synthesis_becomes_a_number(dtype):
    values = to_type(np.array([np.nan, np.inf, -np.inf, 3.0]), np.dtype(dtype))
    assert np.isfinite(values.astype(float)).all()
    assert values[0] == 0
    assert values[3] == 3


def test_the_peak_of_floats_is_their_largest_magnitude():
    image = terrain(1, 64, 64, "float32") - 2000  # -1971 ... -1053
    summary, _ = coded(image, Target("psnr", 60))
    assert summary["target_mse"] == [pytest.approx(float(image.min()) ** 2 / 1e6, rel=1e-5)]


@pytest.mark.parametrize("target", [Target("lossless", True), Target("max_error", 0.5)])
def test_one_value_is_verified_without_a_warning(target):
    image = np.full((1, 20, 30), 0.7, "float32")
    _, data = coded(image, target)
    assert verify_against(File(io.BytesIO(data)), ArraySource(image), model(), 1) == []


@pytest.mark.parametrize("target", [Target("rmse", 1e-170), Target("snr", 4000)])
def test_a_target_below_all_numbers_is_refused(target):
    with pytest.raises(InputError, match="too small"):
        coded(terrain(1, 64, 64, "uint16"), target)


@pytest.mark.parametrize(("mse", "better"), [(400, "0"), (100_000, "1")])
def test_info_tells_of_every_block(tmp_path, capsys, mse, better):
    image = terrain(1, 128, 160, "uint16")
    path, table = tmp_path / "a.isoq", tmp_path / "a.csv"
    summary, data = coded(image, Target("mse", float(mse)))
    path.write_bytes(data)
    assert main(["info", str(path), "--blocks", str(table)]) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == summary["blocks"] == 6
    assert [(row["row"], row["col"]) for row in rows[:4]] == [
        ("0", "0"),
        ("0", "64"),
        ("0", "128"),
        ("64", "0"),
    ]
    assert [row["better_than_asked"] for row in rows] == 6 * [better]
    assert all(float(row["mse"]) <= float(row["target"]) == mse for row in rows)
    assert main(["info", str(path), "--blocks", str(table)]) == 2
    assert "exists" in capsys.readouterr().err

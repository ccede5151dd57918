"""Collections: the same files as one by one, each once."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import rasterio
from cases import DATA, crop
from images import make, one_line

import isoq
from isoq.cli import main
from isoq.codec.options import Options
from isoq.codec.target import Target
from isoq.errors import InputError, ModelMismatchError, OutputExistsError

dask = pytest.importorskip("dask")
pytest.importorskip("distributed")
pq = pytest.importorskip("pyarrow.parquet")

from batches import CROPS, collection, in_parts, one_by_one, order, work  # noqa: E402

from isoq.archive import cluster, tasks  # noqa: E402
from isoq.archive.jobs import jobs_of  # noqa: E402
from isoq.archive.records import write_summary  # noqa: E402
from isoq.storage import objects  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "target",
    [Target("snr", 30.0), Target("mse", 400.0), Target("quality", 0.001), Target("bitrate", 2.0)],
)
def test_parts_make_the_file_that_one_task_makes(tmp_path, target):
    image = make(tmp_path / "landsat.tif", crop("landsat.tif")[:, :130, :80])
    how = in_parts(
        target=target, coding=Options(tile=64, threads=1, embed_model=target.kind == "mse")
    )
    (job,) = jobs_of([str(image)], str(tmp_path / "out"), how)
    assert isinstance(tasks.compress_or_split(job), tasks.SplitPlan) == (target.kind != "bitrate")
    row = work(job)
    assert Path(row["file"]).read_bytes() == one_by_one(image, how)
    assert row["status"] == "written"


@pytest.mark.parametrize("how", [order, in_parts])
def test_rows_tell_what_a_command_would_print(tmp_path, how):
    pixels = crop("landsat.tif")[:, :130, :80]
    pixels[:, 100:, 60:] = 0
    pixels = np.concatenate([pixels, np.arange(130)[None, :, None] // 50 + 0 * pixels])
    image = make(tmp_path / "a.tif", pixels.astype("uint16"), nodata=0)
    with rasterio.open(image, "r+") as dataset:
        dataset.build_overviews([2])
    with warnings.catch_warnings(record=True) as lines:
        warnings.simplefilter("always")
        isoq.compress_file(image, tmp_path / "a.isoq", mse=400, tile=64)
    options = how(target=Target("mse", 400.0), coding=Options(tile=64, threads=1))
    (job,) = jobs_of([str(image)], str(tmp_path / "out"), options)
    row = work(job)
    *notes, undated = row["notes"]
    assert len(notes) == 3
    assert {f"{image}: {note}" for note in notes} == {str(w.message) for w in lines}
    assert undated.startswith("no STAC item")
    write_summary([row], str(tmp_path / "out/summary.parquet"))
    table = pq.read_table(tmp_path / "out/summary.parquet").to_pylist()
    assert table[0]["notes"] == row["notes"]


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/collection", recursive=True)


def test_images_that_are_elsewhere(tmp_path, memory):
    """Parts are read where the image is, but only where one file and GDAL suffice for that."""
    raw = "scene.1_64_128_2_1_0.raw"
    pixels = np.arange(128 * 64, dtype="<u2")
    memory.pipe(f"/collection/{raw}", pixels.tobytes())
    folder = collection(tmp_path / "in")
    for name in CROPS:
        memory.pipe(f"/collection/{name}", (folder / name).read_bytes())
    memory.pipe(
        "/collection/sentinel2.tif.aux.xml",
        b"<PAMDataset><Metadata><MDI key='OF'>beside</MDI></Metadata></PAMDataset>",
    )
    patterns = ["memory://collection/**/*.tif", f"memory://collection/{raw}"]
    jobs = jobs_of(patterns, "memory://collection/out", in_parts())
    names = ["landsat.isoq", "sentinel2.isoq", "sub/sentinel1.isoq", "scene.isoq"]
    assert [job.file for job in jobs] == [f"memory:///collection/out/{name}" for name in names]
    assert [type(tasks.compress_or_split(job)) for job in jobs] == [
        tasks.SplitPlan,
        dict,
        tasks.SplitPlan,
        dict,
    ]
    for job, name in zip(jobs, [*CROPS, raw], strict=True):
        (folder / name).write_bytes(memory.cat(f"/collection/{name}"))
        if name == "sentinel2.tif":
            (folder / "sentinel2.tif.aux.xml").write_bytes(
                memory.cat("/collection/sentinel2.tif.aux.xml")
            )
        assert work(job)["status"] == "written"  # by this run, if not by this call
        assert memory.cat(job.file) == one_by_one(folder / name, in_parts())


def test_a_folder_stands_for_the_images_in_it(tmp_path):
    folder = collection(tmp_path / "in")
    for name in ("README.md", "landsat.tif.aux.xml", "landsat.isoq"):
        (folder / name).write_text("not an image")
    found = [Path(job.source).name for job in jobs_of([str(folder)], str(folder), order())]
    assert sorted(found) == ["landsat.tif", "sentinel1.tif", "sentinel2.tif"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/README.md").touch()
    with one_line(InputError, "empty: no images"):
        jobs_of([str(tmp_path / "empty")], "out", order())


def test_what_is_done_is_not_done_again(tmp_path):
    folder = collection(tmp_path / "in")

    def again(**changes) -> list[dict]:
        return [
            work(job)
            for job in jobs_of([f"{folder}/**/*.tif"], str(tmp_path / "out"), order(**changes))
        ]

    rows = again()
    assert [row["status"] for row in rows] == ["written"] * 3
    file = Path(rows[0]["file"])
    whole, written = file.read_bytes(), [Path(row["file"]).stat().st_mtime_ns for row in rows]
    assert [row | {"status": "written"} for row in again()] == rows
    assert [row["status"] for row in again()] == ["skipped"] * 3
    os.utime(folder / "landsat.tif", (0, 0))  # another date, the same content
    assert [row["status"] for row in again()] == ["skipped"] * 3
    assert [Path(row["file"]).stat().st_mtime_ns for row in rows] == written

    file.write_bytes(whole[:-1] + b"?")  # damaged
    assert [row["status"] for row in again()] == ["written", "skipped", "skipped"]
    file.unlink()
    assert [row["status"] for row in again()] == ["written", "skipped", "skipped"]
    assert file.read_bytes() == whole

    record = tmp_path / "out/_records/landsat.isoq.json"
    record.write_text("{")  # or lost: the file is found to be the very same, and stays
    date = file.stat().st_mtime_ns
    assert [row["status"] for row in again()] == ["written", "skipped", "skipped"]
    assert file.stat().st_mtime_ns == date
    assert json.loads(record.read_text())["row"]["sha256"] == rows[0]["sha256"]


def test_another_file_is_not_replaced(tmp_path):
    folder, other = collection(tmp_path / "in"), order(target=Target("snr", 20.0))
    pattern, out = str(folder / "landsat.tif"), str(tmp_path / "out")
    (job,), (changed,) = (jobs_of([pattern], out, how) for how in (order(), other))
    work(job)
    first = Path(job.file).read_bytes()
    assert "exists already" in work(changed)["error"]
    Path(job.record).unlink()  # not even known to be of a batch
    assert "exists already" in work(changed)["error"]
    assert Path(job.file).read_bytes() == first
    assert work(replace(changed, options=replace(other, overwrite=True)))["status"] == "written"
    assert len(Path(job.file).read_bytes()) < len(first)
    shutil.copy(folder / "sentinel2.tif", folder / "landsat.tif")  # another image of that name
    (job,) = jobs_of([pattern], out, other)
    assert "exists already" in work(job)["error"]
    with one_line(OutputExistsError, job.file):
        tasks.join(job, None, [])


def test_an_item_and_a_thumbnail_are_beside_each_file(tmp_path):
    folder = collection(tmp_path / "in")
    (folder / "landsat.tif").rename(folder / "LC08_20240501T103021.tif")
    jobs = jobs_of([str(folder)], str(folder), order())
    rows = {Path(row["file"]).name: row for row in map(work, jobs)}
    undated = "no STAC item, because neither the metadata nor the name of the image tell"
    assert any(note.startswith(undated) for note in rows["sentinel2.isoq"]["notes"])
    assert not (folder / "sentinel2.isoq.json").exists()
    item = json.loads((folder / "LC08_20240501T103021.isoq.json").read_text())
    for asset in item["assets"].values():
        assert (folder / asset["href"]).exists()
    data = item["assets"]["data"]
    assert data["file:checksum"] == "1220" + rows["LC08_20240501T103021.isoq"]["sha256"]
    with rasterio.open(folder / "sub/sentinel1.isoq.png") as thumbnail:
        assert thumbnail.shape == (70, 70)
    again = jobs_of([str(folder)], str(folder), order())  # thumbnails are no images of it
    assert [job.source for job in again] == [job.source for job in jobs]


def test_an_archive_is_verified_by_its_table(tmp_path, capsys):
    folder = collection(tmp_path / "in")
    (folder / "bad.tif").write_text("no image")
    jobs = jobs_of([str(folder)], str(tmp_path / "out"), order())
    rows = [work(job) for job in jobs]
    write_summary([row for row in rows if row["status"] != "failed"], f"{tmp_path}/out/a.parquet")
    write_summary(rows, f"{tmp_path}/out/summary.parquet")
    archive = (tmp_path / "out").rename(tmp_path / "moved")
    assert main(["verify", str(archive / "a.parquet")]) == 0
    assert "a.parquet: 3 of 3 files are complete and undamaged" in capsys.readouterr().out
    (archive / "landsat.isoq").unlink()
    shutil.copy(archive / "sentinel2.isoq", archive / "sub/sentinel1.isoq")  # sound, but another
    assert main(["verify", str(archive), "--json"]) == 2
    out, err = capsys.readouterr()
    found = {Path(result["file"]).name: result for result in json.loads(out)["files"]}
    for name, words in {
        "bad.isoq": "was not made",
        "landsat.isoq": "missing",
        "sentinel1.isoq": "has another SHA-256",
    }.items():
        assert words in found[name]["error"]
        assert any(name in line and words in line for line in err.splitlines())
    assert found["sentinel2.isoq"]["problems"] == []
    assert main(["verify", str(folder)]) == 2
    assert "in/summary.parquet: not the table of isoq batch" in capsys.readouterr().err


def test_an_archive_is_verified_against_the_images_in_their_folders(tmp_path, capsys):
    folder = collection(tmp_path / "in")
    (folder / "other").mkdir()
    shutil.copy(folder / "landsat.tif", folder / "other/sentinel1.tif")  # an image of the same name
    rows = [work(job) for job in jobs_of([f"{folder}/**/*.tif"], str(tmp_path / "out"), order())]
    write_summary(rows, f"{tmp_path}/out/summary.parquet")
    whole = "the recorded errors of 4 of 4 files are true"
    archive = str((tmp_path / "out").rename(tmp_path / "moved"))
    for originals in (folder, tmp_path):
        assert main(["verify", archive, "--against", str(originals)]) == 0
        assert f"{archive}: {whole}\n" in capsys.readouterr().out
    folder = folder.rename(tmp_path / "elsewhere")
    assert main(["verify", archive, "--against", str(folder)]) == 0
    assert whole in capsys.readouterr().out
    (folder / "sub").rename(folder / "swapped")
    (folder / "other").rename(folder / "sub")
    (folder / "swapped").rename(folder / "other")
    assert main(["verify", archive, "--against", str(folder)]) == 0
    assert whole in capsys.readouterr().out
    (folder / "sub").rename(folder / "swapped")
    (folder / "other").rename(folder / "sub")
    (folder / "swapped").rename(folder / "other")
    (folder / "landsat.tif").unlink()
    (folder / "sub/sentinel1.tif").rename(folder / "sentinel1.tif")
    shutil.copy(folder / "sentinel2.tif", folder / "other/landsat.tif")  # not the original
    assert main(["verify", archive, "--against", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert "errors of 3 of 4 files are true; not compared: 1, as no original was found" in out
    assert "undamaged" not in out
    assert "landsat.isoq" in err
    assert "no image of the name landsat.tif" in err


def test_jobs_that_cannot_be(tmp_path):
    folder = collection(tmp_path / "in")
    shutil.copy(folder / "landsat.tif", folder / "landsat.jp2")
    with one_line(InputError, "landsat.jp2", "landsat.tif", "written there"):
        jobs_of([f"{folder}/*"], "out", order())
    with one_line(InputError, "none*.tif: no such file"):
        jobs_of([f"{folder}/none*.tif"], "out", order())
    with one_line(InputError, "nonesuch://a: cannot be reached"):
        jobs_of(["nonesuch://a"], "out", order())
    (job,) = jobs_of(
        [str(folder / "landsat.tif")], str(tmp_path / "out"), order(identity="another")
    )
    assert "install the same isoq" in tasks.compress_or_split(job)["error"]
    split = tasks.compress_or_split(replace(job, options=in_parts()))
    with one_line(ModelMismatchError, "another"):
        tasks.compress_part(job, split, 0)
    shutil.copy(folder / "sentinel2.tif", folder / "landsat.tif")
    with one_line(InputError, "landsat.tif: the image changed"):
        tasks.compress_part(replace(job, options=in_parts()), split, 0)
    assert not (tmp_path / "out").exists()


class Shelf(fsspec.get_filesystem_class("memory")):
    """A file system that can rename."""

    protocol, objects, pseudo_dirs, moves = "shelf", {}, [""], []

    @classmethod
    def _strip_protocol(cls, path):
        return path.removeprefix("shelf://")

    def mv(self, path1, path2, **options):
        self.moves.append((path1, path2))
        super().mv(path1, path2)


def test_where_renaming_is_possible_a_file_appears_by_it(tmp_path):
    fsspec.register_implementation("shelf", Shelf, clobber=True)
    (tmp_path / "a").write_bytes(b"content")
    objects.publish(tmp_path / "a", "shelf:///folder/a")
    ((part, name),) = Shelf.moves
    assert part != name == "/folder/a"
    assert objects.read("shelf:///folder/a") == b"content"


def test_commands_that_are_wrong(tmp_path, capsys, monkeypatch):
    folder = collection(tmp_path / "in")
    monkeypatch.setattr(cluster, "_TIMEOUT", 0.5)
    (tmp_path / "a.txt").touch()
    call = ["batch", f"{folder}/*.tif", "--out", str(tmp_path / "out")]
    for words, arguments in {
        "no target; give one of --mse": [],
        "a.txt/out: cannot be written": ["--mse", "25", "--out", str(tmp_path / "a.txt/out")],
        "--workers 0": ["--mse", "25", "--workers", "0"],
        "tcp://127.0.0.1:9: no scheduler": ["--mse", "25", "--dask", "tcp://127.0.0.1:9"],
        "nonsense://x": ["--mse", "25", "--dask", "nonsense://x"],
    }.items():
        assert main([*call, *arguments]) == 2
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert words in err
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "isoq.archive.cluster")
    monkeypatch.delattr("isoq.archive.cluster")
    assert main([*call, "--mse", "25"]) == 2
    assert "pip install 'isoq[batch]'" in capsys.readouterr().err


def test_other_commands_do_without(tmp_path):
    (tmp_path / "a.isoq").write_bytes(one_by_one(DATA / "landsat.tif", order()))
    code = (
        "import sys; from isoq.cli import main; assert main(['info', sys.argv[1], '--json']) == "
        "0; "
        "print(*{'dask', 'distributed', 'fsspec', 'pyarrow', 'torch'} & set(sys.modules), "
        "file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.isoq"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == ""

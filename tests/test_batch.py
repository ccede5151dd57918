"""Collections: the same files as one by one, each once, whatever is killed on the way; on a dask
cluster and a local S3 server."""

import io
import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
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
from isoq.codec.writer import compress_to
from isoq.errors import InputError, ModelMismatchError, OutputExistsError
from isoq.network.model import _load, load_model
from isoq.raster.source import open_source

dask = pytest.importorskip("dask")
pytest.importorskip("distributed")
pq = pytest.importorskip("pyarrow.parquet")

from isoq.archive import cluster, tasks  # noqa: E402
from isoq.archive.jobs import BatchOptions, FileJob, jobs_of  # noqa: E402
from isoq.archive.records import write_summary  # noqa: E402
from isoq.storage import objects  # noqa: E402

pytestmark = pytest.mark.slow


CROPS = ("landsat.tif", "sentinel2.tif", "sub/sentinel1.tif")
BUCKET = "s3://bucket"


def order(**changes) -> BatchOptions:
    model = load_model("eo16")
    return replace(
        BatchOptions(
            Target("snr", 30.0),
            Options(tile=64, threads=1, single_pass=True),
            "eo16",
            model.identity,
        ),
        **changes,
    )


def in_parts(**changes) -> BatchOptions:
    """Tiles of 64 pixels, and every row of them a task."""
    return order(task=1, **changes)


def collection(folder: Path) -> Path:
    """Real images of 2 x 2 tiles, one of them in a folder of its own."""
    for name in CROPS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(DATA / Path(name).name) as whole:
            make(
                folder / name,
                whole.read(window=((0, 120), (0, 70))),
                crs=whole.crs,
                transform=whole.transform,
                nodata=whole.nodata,
            )
    return folder


def moved(value):
    """A value as another process gets it."""
    return pickle.loads(pickle.dumps(value))


def work(job: FileJob) -> dict:
    """All tasks of a job, one after the other."""
    job = moved(job)
    row = tasks.compress_or_split(job)
    if isinstance(row, tasks.SplitPlan):
        split = moved(row)
        row = tasks.join(
            job,
            split,
            [moved(tasks.compress_part(job, split, number)) for number in range(len(split.parts))],
        )
    return row


def one_by_one(path: Path, how: BatchOptions) -> bytes:
    out = io.BytesIO()
    with open_source(path) as source:
        compress_to(out, source, how.target, load_model(how.model), how.coding)
    return out.getvalue()


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
    assert len(row["notes"]) == 3
    assert {f"{image}: {note}" for note in row["notes"]} == {str(w.message) for w in lines}
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


# ---- on a cluster ----


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    return collection(tmp_path_factory.mktemp("originals"))


@pytest.fixture(scope="module")
def s3(originals):
    """A local S3 server that keeps every version of an object, with the collection."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    names = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    system = fsspec.filesystem("s3")
    system.mkdir("bucket")
    system.call_s3(
        "put_bucket_versioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"}
    )
    for name in CROPS:
        system.put_file(str(originals / name), f"bucket/in/{name}")
    yield system
    fsspec.asyn.sync(system.loop, system.s3.close)
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="module")
def client(s3):
    patience = {
        "distributed.comm.timeouts.connect": "10s"
    }  # with the dead; by default half a minute
    os.environ["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"] = "10s"
    with dask.config.set(patience), cluster.connected("local", 2) as client:
        yield client
    del os.environ["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"]


def versions(s3, folder: str) -> dict[str, list[str]]:
    """The versions of every object under a folder of the bucket."""
    found: dict[str, list[str]] = {}
    for entry in s3.call_s3("list_object_versions", Bucket="bucket", Prefix=f"{folder}/").get(
        "Versions", ()
    ):
        found.setdefault(entry["Key"].removeprefix(f"{folder}/"), []).append(entry["ETag"])
    return found


FILES = {
    f"{prefix}{name.replace('.tif', '.isoq')}{suffix}"
    for name in CROPS
    for prefix, suffix in (("", ""), ("_records/", ".json"))
}


def break_in(point: str, name: str, marker: str) -> None:
    """In a worker: die, once for all of them, before or after a file is published."""
    publish = objects.publish

    def deadly(file, address):
        strike = address.endswith(name) and not os.path.exists(marker)
        if strike:
            Path(marker).touch()
        if not (strike and point == "before"):
            publish(file, address)
        if strike:
            os.kill(os.getpid(), signal.SIGKILL)

    objects.publish = deadly


def test_killed_workers_lose_nothing_and_repeat_nothing(s3, client, originals, tmp_path):
    """One dies with a file ready to be written, and, or the one in its place, another with the file
    written and no record of it."""
    client.run(break_in, "before", "sub/sentinel1.isoq", str(tmp_path / "one"))
    client.run(break_in, "after", "landsat.isoq", str(tmp_path / "two"))
    before = set(client.scheduler_info(n_workers=-1)["workers"])
    jobs = jobs_of([f"{BUCKET}/in/**/*.tif"], f"{BUCKET}/killed", in_parts())
    rows = list(cluster.run(client, jobs))
    assert (tmp_path / "one").exists()
    assert (tmp_path / "two").exists()
    assert set(client.scheduler_info(n_workers=-1)["workers"]) != before
    assert sorted(row["file"] for row in rows) == sorted(job.file for job in jobs)  # a row each
    assert {row["status"] for row in rows} == {"written"}
    found = versions(s3, "killed")
    assert set(found) == FILES
    assert all(len(entries) == 1 for entries in found.values()), found
    for job, name in zip(jobs, CROPS, strict=True):
        assert s3.cat(job.file) == one_by_one(originals / name, in_parts())


def test_the_command_on_s3(s3, client, capsys, tmp_path):
    s3.pipe("bucket/in/bad.tif", b"no image")
    call = [
        "batch",
        f"{BUCKET}/in/**/*.tif",
        "--out",
        f"{BUCKET}/out",
        "--snr",
        "30",
        "--dask",
        client.scheduler.address,
    ]
    try:
        assert main([*call, "--json"]) == 2
        out, err = capsys.readouterr()
        told = json.loads(out)
        assert {key: told[key] for key in ("written", "skipped", "failed")} == {
            "written": 3,
            "skipped": 0,
            "failed": 1,
        }
        assert len(err.splitlines()) == 1
        assert err.startswith("isoq: s3://bucket/in/bad.tif: not an image")
    finally:
        s3.rm("bucket/in/bad.tif")
    assert main(call) == 0
    out, err = capsys.readouterr()
    assert out == "s3://bucket/out/summary.parquet: 0 written, 3 skipped, 0 failed\n"
    found = versions(s3, "out")
    assert set(found) == FILES | {"summary.parquet", "_records/run.json"}
    assert {name: len(found[name]) for name in FILES} == dict.fromkeys(FILES, 1)
    with s3.open("bucket/out/summary.parquet") as stream:
        rows = pq.read_table(stream).to_pylist()
    assert [row["source"] for row in rows] == [f"s3://bucket/in/{name}" for name in CROPS]
    for row in rows:
        assert s3.info(row["file"])["size"] == row["bytes"]
        assert objects.digest(row["file"]) == row["sha256"]
        assert row["above"] == 0
        assert (
            0 < np.mean(np.divide(row["mse"], row["target_mse"])) <= 1
        )  # bands are coded together
        s3.get_file(row["file"], str(tmp_path / "a.isoq"))
        s3.get_file(row["source"], str(tmp_path / "a.tif"))
        assert (
            main(
                [
                    "verify",
                    str(tmp_path / "a.isoq"),
                    "--against",
                    str(tmp_path / "a.tif"),
                    "--quiet",
                ]
            )
            == 0
        )


def test_a_worker_loads_a_model_once(s3, client):
    jobs = jobs_of([f"{BUCKET}/in/**/*.tif"], f"{BUCKET}/models", in_parts())
    assert {row["status"] for row in cluster.run(client, jobs)} == {"written"}
    loads = client.run(lambda: _load.cache_info()).values()
    assert len(loads) == 2
    assert all(found.currsize <= 2 for found in loads)  # by name, and by folder
    assert sum(found.misses for found in loads) <= 4 < sum(found.hits for found in loads)


def test_a_file_that_kills_workers_is_given_up(s3, client, tmp_path):
    client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
    client.run(break_in, "before", "landsat.isoq", str(tmp_path / "mark"))
    (job,) = jobs_of([f"{BUCKET}/in/landsat.tif"], f"{BUCKET}/given-up", order())
    (row,) = cluster.run(client, [job])
    assert row["status"] == "failed"
    assert row["error"].startswith(f"{job.source}: several workers died")
    assert versions(s3, "given-up") == {}


def test_a_connection_that_fails_is_tried_again(s3, client, tmp_path):
    def fail_twice(folder: str) -> None:
        publish = objects.publish

        def failing(file, address):
            for name in ("one", "two"):
                if address.startswith(f"{BUCKET}/tried/") and not Path(folder, name).exists():
                    Path(folder, name).touch()
                    raise ConnectionError("lost")
            publish(file, address)

        objects.publish = failing

    until = time.monotonic() + 20
    while (
        len(client.scheduler_info(n_workers=-1)["workers"]) < 2 and time.monotonic() < until
    ):  # the one killed above is being replaced
        time.sleep(0.1)
    client.run(fail_twice, str(tmp_path))
    (job,) = jobs_of([f"{BUCKET}/in/landsat.tif"], f"{BUCKET}/tried", order())
    (row,) = cluster.run(client, [job])
    assert row["status"] == "written"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]

"""Collections on a dask cluster and a local S3 server: whatever is killed on the way, each file is
written once."""

import json
import logging
import os
import signal
import time
from pathlib import Path
from queue import Queue

import fsspec
import numpy as np
import pytest

from isoq.cli import main
from isoq.network.model import _load

dask = pytest.importorskip("dask")
pytest.importorskip("distributed")
pq = pytest.importorskip("pyarrow.parquet")

from batches import BUCKET, CROPS, collection, in_parts, one_by_one, order  # noqa: E402

from isoq.archive import cluster  # noqa: E402
from isoq.archive.jobs import jobs_of  # noqa: E402
from isoq.storage import objects  # noqa: E402

pytestmark = pytest.mark.slow


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
    for prefix, suffix in (("", ""), ("", ".png"), ("_records/", ".json"))
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


def test_workers_keep_no_profile_which_would_grow_for_minutes(client):
    kept = client.run(lambda dask_worker: "profile" in dask_worker.periodic_callbacks)
    assert set(kept.values()) == {False}


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


def test_parts_of_a_file_are_told_as_they_are_done(client, originals, tmp_path):
    jobs = jobs_of([f"{originals}/landsat.tif"], str(tmp_path), in_parts())
    told = Queue()
    (row,) = cluster.run(client, jobs, lambda file, share: told.put((file, share)))
    assert row["status"] == "written"
    file, share = told.get(timeout=60)
    others = [told.get(timeout=60) for _ in range(round(1 / share) - 1)]
    assert others
    assert {*others} == {(file, share)}
    assert file == jobs[0].file


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
    assert out == (
        "s3://bucket/out/summary.parquet: 0 written, 3 skipped, 0 failed; "
        "3 without a STAC item: see the column notes\n"
    )
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

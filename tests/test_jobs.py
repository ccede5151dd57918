"""The files of a collection as jobs, without a cluster that does them."""

from pathlib import Path

import pytest
from images import one_line

from isoq import Target
from isoq.codec.options import Options
from isoq.errors import InputError

pytest.importorskip("fsspec")

from isoq.archive.jobs import BatchOptions, jobs_of

OPTIONS = BatchOptions(Target("snr", 30.0), Options(threads=1), "eo16", "0" * 16)


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_folders_below_the_fixed_part_are_recreated(tmp_path):
    folder = files(tmp_path / "in", "a.tif", "sub/b.tif", "sub/notes.txt")
    jobs = jobs_of([str(folder)], str(tmp_path / "out"), OPTIONS)
    made = {Path(job.source).name: Path(job.file).relative_to(tmp_path) for job in jobs}
    assert made == {"a.tif": Path("out/a.isoq"), "b.tif": Path("out/sub/b.isoq")}
    assert {Path(job.record).name for job in jobs} == {"a.isoq.json", "b.isoq.json"}


def test_two_images_for_one_file_are_refused(tmp_path):
    folder = files(tmp_path, "a.tif", "a.jp2")
    with one_line(InputError, "a.isoq", "would both be written there"):
        jobs_of([str(folder)], "out", OPTIONS)


def test_other_targets_have_other_fingerprints():
    other = BatchOptions(Target("snr", 31.0), Options(threads=1), "eo16", "0" * 16)
    assert OPTIONS.digest != other.digest

"""The entry for the registry of Zarr extensions describes the codec."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import isoq

jsonschema = pytest.importorskip("jsonschema")
zarr = pytest.importorskip("zarr")

ENTRY = Path(__file__).parent.parent / "docs" / "zarr-codec"
SCHEMA = json.loads((ENTRY / "schema.json").read_text())
CONFIGURATION = SCHEMA["properties"]["configuration"]


def check(codec: dict) -> None:
    jsonschema.validate(codec, SCHEMA, jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "keywords",
    [
        {"mse": 25},
        {"mse": [1, 2.5, 4], "joint": "mean"},
        {"rmse": 3.0, "block": 32, "tile": 256},
        {"snr": 35, "single_pass": True},
        {"psnr": 50, "peak": 10000, "model": "eo16-3"},
        {"max_error": 2, "lossless_bands": [2]},
        {"lossless": True},
        {"quality": 200, "predictor": "isoq", "embed_model": True},
    ],
)
def test_the_schema_accepts_what_the_codec_writes(keywords):
    codec = isoq.IsoqCodec(**keywords)
    check(codec.to_dict())
    made = {"shape": (3, 20, 30), "chunks": (3, 20, 30), "dtype": "uint16", "fill_value": 0}
    array = zarr.create_array({}, serializer=codec, compressors=None, **made)
    (stored,) = array.metadata.to_dict()["codecs"]
    check(json.loads(json.dumps(stored)))


@pytest.mark.parametrize(
    "codec",
    [
        {"name": "other"},
        {"name": "isoq", "configuration": {"bitrate": 1}},
        {"name": "isoq", "configuration": {"mse": "low"}},
        {"name": "isoq", "configuration": {"mse": []}},
    ],
)
def test_the_schema_refuses_other_codecs(codec):
    with pytest.raises(jsonschema.ValidationError):
        check(codec)


def test_the_entry_names_every_keyword_of_the_codec():
    text = (ENTRY / "README.md").read_text()
    for keyword in CONFIGURATION["properties"]:
        assert f"`{keyword}`" in text
        with pytest.raises(isoq.InputError) as caught:
            isoq.IsoqCodec(**{keyword: object(), "unknown": 1})
        assert str(caught.value).startswith("unknown: no keyword")


def test_the_example_of_the_entry_makes_an_array():
    (example,) = re.findall(r"```json\n(.*?)```", (ENTRY / "README.md").read_text(), re.S)
    (codec,) = json.loads(example)["codecs"]
    check(codec)
    array = zarr.create_array(
        {},
        data=np.arange(6000, dtype="uint16").reshape(1, 60, 100),
        serializer=isoq.IsoqCodec.from_dict(codec),
        compressors=None,
        fill_value=0,
    )
    assert np.mean((array[:].astype(float) - np.arange(6000).reshape(1, 60, 100)) ** 2) <= 25

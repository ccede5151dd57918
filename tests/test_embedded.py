"""Files that bring their model along: read where it is not shipped, and a model from anywhere does
no harm."""

import io
import json
import shutil
import zlib
from dataclasses import replace

import numpy as np
import pytest
from cases import graph_model, model, model_with_trellis, other_model, terrain
from images import make, one_line
from test_container import chunk, chunks

import isoq
from isoq.cli import main
from isoq.codec.options import Options
from isoq.codec.reader import File
from isoq.codec.sources import ArraySource
from isoq.codec.target import Target
from isoq.codec.writer import compress_to
from isoq.entropy.hyperprior import _layout
from isoq.errors import CorruptFileError, ModelMismatchError
from isoq.format.bytestream import Writer
from isoq.network.embedded import pack, unpack
from isoq.network.graph_check import check_graph
from isoq.network.model import Content, Model

PIXELS = terrain(1, 40, 50, "uint16")
EMBED = Options(block=16, threads=1, embed_model=True)


def compressed(chosen: Model, options: Options = EMBED) -> bytes:
    out = io.BytesIO()
    compress_to(out, ArraySource(PIXELS), Target("mse", 500.0), chosen, options)
    return out.getvalue()


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Model:
    return Model(other_model(tmp_path_factory.mktemp("models") / "other-1", "eo16-2"))


@pytest.fixture(scope="module")
def packed(other) -> bytes:
    """A file that no shipped model reads."""
    return compressed(other)


def test_a_trellis_comes_along(tmp_path):
    chosen = Model(model_with_trellis(tmp_path / "m"))
    data = compressed(chosen)
    assert np.array_equal(isoq.decompress(data), isoq.decompress(data, model=chosen))
    assert chosen.identity != model().identity


def exchanged(data: bytes, payload: bytes) -> bytes:
    """The file with another model in it."""
    start, end = next((start, end) for kind, start, end in chunks(data) if kind == b"modl")
    return data[:start] + chunk(b"modl", payload) + data[end:]


@pytest.mark.slow
def test_a_file_is_all_it_takes(capsys, tmp_path):
    folder, image = (
        other_model(tmp_path / "other-1", "eo16-2"),
        make(tmp_path / "scene.tif", PIXELS, crs="EPSG:3857"),
    )
    arguments = ["compress", str(image), "--mse", "500", "--model", str(folder), "--quiet"]
    assert main([*arguments, "--embed-model"]) == 0
    assert main([*arguments[:2], str(tmp_path / "lean.isoq"), *arguments[2:]]) == 0
    expected = isoq.decompress((tmp_path / "scene.isoq").read_bytes(), model=folder)
    shutil.rmtree(folder)
    path = tmp_path / "scene.isoq"
    assert path.stat().st_size - (tmp_path / "lean.isoq").stat().st_size < 300_000
    assert main(["verify", str(path), "--against", str(image), "--quiet"]) == 0
    assert main(["decompress", str(path), str(tmp_path / "back.tif"), "--quiet"]) == 0
    with isoq.open(path) as src:
        assert np.array_equal(src.read(), expected)
    capsys.readouterr()
    assert main(["info", str(path)]) == 0
    assert "holds the model itself" in capsys.readouterr().out
    assert main(["info", str(path), "--json"]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["embedded_model"] < 300_000
    assert main(["decompress", str(tmp_path / "lean.isoq")]) == 2


def test_the_same_model(other):
    again = unpack(pack(other))
    assert again.identity == other.identity != graph_model().identity
    assert again.info == {
        key: value for key, value in other.info.items() if key not in ("provenance", "validation")
    }
    assert again.with_threads(2).identity == other.identity
    assert pack(again) == pack(other)
    with one_line(ModelMismatchError, "only decodes"):
        isoq.compress(PIXELS, mse=500, model=again)


def test_a_model_of_wavelets_comes_with_a_file_too(tmp_path):
    chosen = Model(other_model(tmp_path / "other-1"))
    again = unpack(pack(chosen))
    assert again.identity == chosen.identity != model().identity
    data = compressed(chosen)
    assert np.array_equal(isoq.decompress(data), isoq.decompress(data, model=chosen))


def test_a_shipped_model_is_preferred(monkeypatch):
    data = compressed(graph_model())
    monkeypatch.setattr("isoq.codec.reader.unpack", None)
    assert np.array_equal(
        isoq.decompress(data),
        isoq.decompress(compressed(graph_model(), replace(EMBED, embed_model=False))),
    )


@pytest.mark.slow
def test_a_hyperprior(tmp_path):
    """Without the analysis, which only the encoder uses."""
    folder = other_model(tmp_path / "hyper-1", "eo16-2")
    info = json.loads((folder / "model.json").read_text()) | {
        "name": "hyper-1",
        "entropy": "hyperprior",
    }
    (folder / "model.json").write_text(json.dumps(info))
    rng = np.random.default_rng(0)
    arrays = {
        k: rng.integers(0, 3, shape).astype(dtype) for k, (dtype, shape) in _layout(256, 4).items()
    }
    for name in ("hyper_cdf", "hyper_z_cdf"):
        arrays[name][:] = np.linspace(0, 1 << 15, arrays[name].shape[1])
    modulation = {
        name: array for name, array in graph_model().arrays.items() if name.startswith("modulation")
    }
    np.savez(folder / "decoder.npz", **arrays, **modulation)
    data, chosen = compressed(Model(folder), replace(EMBED, single_pass=True)), Model(folder)
    assert not any("analysis" in name for name in unpack(pack(chosen)).arrays)
    assert np.array_equal(isoq.decompress(data), isoq.decompress(data, model=folder))


@pytest.mark.slow
def test_damage_matters_only_where_the_model_is_needed(other, packed):
    for chosen, data in ((other, packed), (graph_model(), compressed(graph_model()))):
        at = data.index(b"modl") + 1000
        damaged = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
        with pytest.raises(CorruptFileError, match="'modl'"):
            isoq.decompress(damaged, model=chosen)
        lost = []
        with isoq.open(io.BytesIO(damaged), chosen, lost.append) as src:
            assert np.array_equal(src.read(), isoq.decompress(data, model=chosen))
        assert [part.part for part in lost] == ["embedded model"]
    with pytest.raises(ModelMismatchError):
        isoq.open(
            io.BytesIO(packed[: packed.index(b"modl")] + damaged[damaged.index(b"modl") :]),
            on_damage=lost.append,
        )


@pytest.mark.slow
def test_another_model_than_the_file_needs(packed):
    with one_line(
        ModelMismatchError, "data: written with model eo16-2", "embedded model is eo16-2"
    ):
        isoq.decompress(exchanged(packed, pack(graph_model())))


def varint(number: int) -> bytes:
    out = Writer()
    out.varint(number)
    return bytes(out.data)


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def graph(*parts: bytes) -> bytes:
    """An ONNX model whose graph has these parts."""
    return field(7, b"".join(parts))


HOSTILE_GRAPHS = {
    "empty": b"",
    "text": b"#!/bin/sh",
    "no graph": field(2, b"isoq"),
    "two graphs": graph() + graph(),
    "loop": graph(field(1, field(4, b"Loop"))),
    "custom operator": graph(field(1, field(4, b"Add") + field(7, b"com.evil"))),
    "custom set": field(8, field(1, b"com.evil")) + graph(),
    "branch in an attribute": graph(
        field(1, field(4, b"Add") + field(5, field(1, b"body") + field(6, b"")))
    ),
    "external data": graph(field(5, field(13, field(1, b"location") + field(2, b"/etc/passwd")))),
    "external place": graph(field(5, varint(14 << 3) + b"\1")),
    "function": graph() + field(25, b""),
    "sparse constant": graph(field(15, b"")),
    "cut off": graph(field(1, field(4, b"Add")))[:-1],
    "endless number": b"\xff" * 20,
    "many nodes": graph(*[field(1, field(4, b"Add"))] * 10_001),
}


@pytest.mark.parametrize("name", HOSTILE_GRAPHS)
def test_hostile_graphs(name):
    with pytest.raises(ValueError, match="transform"):
        check_graph(HOSTILE_GRAPHS[name])


def test_plain_graphs():
    for each in graph_model().content.graphs.values():
        check_graph(each)
        for cut in range(0, len(each) - 100, 500):
            with pytest.raises(ValueError, match="transform"):
                check_graph(each[:cut])


def altered(change) -> bytes:
    """A packed model after `change` of its info, arrays and graph."""
    content = graph_model().content
    info, arrays, graphs = dict(content.info), dict(content.arrays), dict(content.graphs)
    change(info, arrays, graphs)
    fake = object.__new__(Model)
    fake.content, fake.info, fake.arrays = Content(info, arrays, graphs), info, arrays
    return pack(fake)


def head(text: bytes, rest: bytes = b"") -> bytes:
    return zlib.compress(varint(len(text)) + text + rest)


HOSTILE = {
    "nothing": lambda: b"",
    "no zlib": lambda: b"PK\3\4",
    "cut off": lambda: pack(graph_model())[:-9],
    "bomb": lambda: zlib.compress(bytes(1 << 27), 9),
    "no JSON": lambda: head(b"{"),
    "deep JSON": lambda: head(b"[" * 100_000),
    "other JSON": lambda: head(b"[1, 2, 3]"),
    "no info": lambda: head(b"[1, []]"),
    "object": lambda: head(b'[{}, [["a", "|O", [1]]]]', bytes(8)),
    "endless array": lambda: head(b'[{}, [["a", "<i4", [99999999999, 99999999999]]]]', bytes(8)),
    "negative array": lambda: head(b'[{}, [["a", "<i4", [-1]]]]', bytes(8)),
    "broken array": lambda: head(b'[{}, [["a", "<i4", [0.5]]]]', bytes(8)),
    "no arrays": lambda: altered(lambda info, arrays, graphs: arrays.clear()),
    "other format": lambda: altered(lambda info, arrays, graphs: info.update(format=3)),
    "text for a number": lambda: altered(lambda info, arrays, graphs: info.update(bands="many")),
    "many bands": lambda: altered(lambda info, arrays, graphs: info.update(bands=10**9)),
    "many latents": lambda: altered(lambda info, arrays, graphs: info.update(latents=10**9)),
    "no range": lambda: altered(lambda info, arrays, graphs: info.update(lambda_min=0)),
    "other gains": lambda: altered(
        lambda info, arrays, graphs: arrays.update(modulation_out=arrays["modulation_out"][:9])
    ),
    "no entropy model": lambda: altered(lambda info, arrays, graphs: arrays.pop("context_cdf")),
    "other entropy model": lambda: altered(
        lambda info, arrays, graphs: info.update(entropy="hyperprior")
    ),
    "no tables": lambda: altered(
        lambda info, arrays, graphs: arrays.update(context_cdf=arrays["context_cdf"] * 0)
    ),
    "analysis for synthesis": lambda: altered(
        lambda info, arrays, graphs: graphs.update(synthesis=graphs["analysis"])
    ),
    "loop": lambda: altered(
        lambda info, arrays, graphs: graphs.update(synthesis=HOSTILE_GRAPHS["loop"])
    ),
    "nodes without inputs": lambda: altered(
        lambda info, arrays, graphs: graphs.update(synthesis=graph(field(1, field(4, b"Add"))))
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.slow
def test_hostile_models(name, capfd):
    with one_line(ModelMismatchError, "embedded model"):
        unpack(HOSTILE[name]())
    assert capfd.readouterr() == ("", "")


def test_a_hostile_file_is_named(packed):
    with one_line(ModelMismatchError, "data: embedded model: not a model", "operator 'Loop'"):
        isoq.decompress(exchanged(packed, HOSTILE["loop"]()))


@pytest.mark.slow
def test_any_altered_model_is_refused(other, packed):
    """A bit of the arrays or the graph, behind the checksum: the model does not work or is not the
    one that the file asks for."""
    data, rng = zlib.decompress(pack(other)), np.random.default_rng(0)
    for at in rng.integers(5000, len(data), 12):
        changed = data[:at] + bytes([data[at] ^ 1 << rng.integers(8)]) + data[at + 1 :]
        with pytest.raises(ModelMismatchError, match=r"^data: "):
            isoq.decompress(exchanged(packed, zlib.compress(changed, 1)))


def test_reader_skips_what_it_does_not_need(packed):
    start, end = next((start, end) for kind, start, end in chunks(packed) if kind == b"modl")
    lean = File(io.BytesIO(packed[:start] + packed[end:]))
    assert lean.embedded == 0
    with one_line(ModelMismatchError, "give its folder as `model`"):
        lean.model()

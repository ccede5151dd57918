"""Transforms on PyTorch do what ONNX Runtime does. Where there is no GPU, the device "cuda" of
these tests is PyTorch on the CPU."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from cases import DATA, crop, graph_model

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from test_torch_latents import CONFIGS, image, random_network  # noqa: E402

from isoq.cli import main  # noqa: E402
from isoq.errors import IsoqWarning, ModelMismatchError  # noqa: E402
from isoq.network import torch_transform  # noqa: E402
from isoq.network.graph_check import OPERATORS  # noqa: E402
from isoq.network.model import Model, _load, load_model  # noqa: E402
from isoq.network.torch_transform import TorchTransform  # noqa: E402
from isoq.tile.decode import decode_tile  # noqa: E402
from isoq.tile.encode import encode_tile  # noqa: E402
from isoq.tile.targets import ErrorTarget  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture
def gpu(monkeypatch):
    if not torch.cuda.is_available():
        monkeypatch.setattr(
            torch_transform, "TorchTransform", lambda graph, device: TorchTransform(graph, "cpu")
        )
    _load.cache_clear()
    yield
    _load.cache_clear()


def graph_of(name: str) -> onnx.ModelProto:
    return onnx.load(graph_model().folder / f"{name}.onnx")


@pytest.mark.parametrize("network", ["shipped", *CONFIGS])
def test_transforms_agree(gpu, network, tmp_path):
    folder = graph_model().folder
    if network != "shipped":
        random_network(CONFIGS[network], folder := tmp_path)
    cpu, cuda = Model(folder), Model(folder, device="cuda")
    assert cuda.identity == cpu.identity
    x = image(cpu.bands)
    x.flags.writeable = False
    y = cpu.analysis(x)
    back = cpu.synthesis(y)
    for found, expected in ((cuda.analysis(x), y), (cuda.synthesis(y), back)):
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("writer", ["cpu", "cuda"])
@pytest.mark.usefixtures("transformed")
def test_a_tile_decodes_to_the_same_latents_on_either_device(gpu, writer):
    pixels = crop("landsat.tif")
    cpu, cuda = graph_model(), graph_model().on("cuda")
    data, _ = encode_tile(pixels, (None,), ErrorTarget(np.full((1, 1, 1), 400.0)), cpu.on(writer))
    one, two = (decode_tile(data, (None,), m, pixels.shape, "uint16") for m in (cpu, cuda))
    assert np.array_equal(one.latents[0], two.latents[0])
    assert np.abs(one.samples.astype(int) - two.samples).max() <= 1


def test_operators_are_those_that_a_model_may_have():
    assert torch_transform._OPERATORS.keys() == OPERATORS


def test_devices_are_models_of_their_own(gpu):
    cuda = load_model("eo16-2", device="cuda")
    assert cuda.on("cuda") is cuda
    assert cuda.with_threads(2) is cuda
    assert cuda.on("cpu").device == graph_model().device == "cpu"
    assert graph_model().on("cuda") is graph_model().on("cuda")


def test_threads_do_not_mix_their_tiles():
    transform = TorchTransform(graph_of("analysis").SerializeToString(), "cpu")
    tiles = [
        np.random.default_rng(seed).normal(size=(1, 1, 64, 64 + 16 * (seed % 3))).astype(np.float32)
        for seed in range(24)
    ]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(transform, tiles))
    assert all(np.array_equal(a, transform(x)) for a, x in zip(together, tiles, strict=True))


def test_no_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    TorchTransform(graph_of("analysis").SerializeToString(), "cpu")
    assert not torch.backends.cudnn.allow_tf32


def spoil(proto: onnx.ModelProto, how: str) -> None:
    conv = next(node for node in proto.graph.node if node.op_type == "Conv")
    if how == "operator":
        conv.op_type = "ConvTranspose"
    elif how == "attribute":
        conv.attribute.append(onnx.helper.make_attribute("dilations", [2, 2]))
    else:
        conv.input[0] = "nowhere"


@pytest.mark.parametrize(
    ("how", "words"),
    [("operator", "ConvTranspose"), ("attribute", "does not load"), ("input", "does not load")],
)
def test_graphs_that_are_not_understood_are_refused(how, words):
    proto = graph_of("analysis")
    spoil(proto, how)
    with pytest.raises(ModelMismatchError, match=words) as error:
        TorchTransform(proto.SerializeToString(), "cpu")
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(ModelMismatchError, match="does not load"):
        TorchTransform(b"no graph", "cpu")


def test_command_line(gpu, tmp_path, capsys):
    scene, packed, back = DATA / "landsat.tif", tmp_path / "a.isoq", tmp_path / "a.tif"
    cuda = ("--device", "cuda", "--threads", "2")
    compress = ("compress", str(scene), str(packed), "--model", "eo16-2")
    assert main([*compress, "--mse", "400", "--tile", "128", "--quiet", *cuda]) == 0
    assert main(["verify", str(packed), "--against", str(scene), "--quiet", *cuda]) == 0
    assert main(["verify", str(packed), "--against", str(scene), "--quiet"]) == 0
    assert main(["decompress", str(packed), str(back), "--quiet", *cuda]) == 0
    assert main(["estimate", str(scene), "--mse", "400", "--model", "eo16-2", *cuda]) == 0
    with rasterio.open(back) as dataset:
        assert np.mean((dataset.read().astype(float) - crop("landsat.tif")) ** 2) <= 400.1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "command",
    [
        "compress {0} {1}.isoq --mse 9 --model eo16-2",
        "estimate {0} --mse 9 --model eo16-2",
        "decompress {2} {1}",
        "verify {2}",
    ],
)
def test_no_gpu(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    scene, packed = DATA / "landsat.tif", tmp_path / "scene.isoq"
    compress = ["compress", str(scene), str(packed), "--quality", "0.01", "--model", "eo16-2"]
    assert main([*compress, "--quiet"]) == 0
    assert main([*command.format(scene, tmp_path / "new", packed).split(), "--device", "cuda"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("isoq: ")
    assert err.endswith("leave --device out\n")
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [packed]


def test_memory_of_the_gpu(gpu, tmp_path, capsys, monkeypatch):
    def full(*arguments, **attributes):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(torch_transform._OPERATORS, "Conv", full)
    assert (
        main(
            [
                "compress",
                str(DATA / "landsat.tif"),
                str(tmp_path / "a.isoq"),
                "--mse",
                "400",
                "--model",
                "eo16-2",
                "--device",
                "cuda",
            ]
        )
        == 2
    )
    assert "not enough memory" in capsys.readouterr().err


def test_a_device_does_nothing_for_wavelets(gpu):
    with pytest.warns(IsoqWarning, match="no effect"):
        cuda = load_model("eo16", device="cuda")
    assert cuda.identity == load_model("eo16").identity

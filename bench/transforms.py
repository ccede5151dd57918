"""Measure the cost of the transforms: networks and runtimes side by side, one thread, one tile;
results/transforms.csv.

Networks: the paper's widths 64-64-64 with GDN, the default preset with learned transforms
(16-32-64), and the wavelets of the shipped models: eo16-1 filters both axes at once, eo16-2 one
after the other, eo16-3 in lifting steps without a runtime. Runtimes: ONNX Runtime with up-sampling
as a convolution per output phase (as `isoq train` writes it for networks) or as a transposed
convolution; OpenVINO in float32 and bfloat16, if it is installed. SNR is that of the synthesis
against the first of these; of eo16-3, that of analysis and synthesis against the input. Needs the
extra `train`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import onnxruntime
import torch
from common import Row, print_table, save
from roofline import loads
from throughput import seconds

import isoq
from isoq.train import export
from isoq.train.export import multiplications
from isoq.train.networks import Network, NetworkConfig

NETWORKS = {
    "64-64-64, 192 latents (paper)": NetworkConfig.of_preset("paper"),
    "64-64-64, 256 latents": NetworkConfig.of_preset("default", learned=True, widths=(64, 64, 64)),
    "16-32-64, 256 latents (default, learned)": NetworkConfig.of_preset("default", learned=True),
}
SHIPPED = ("eo16-1", "eo16-2")


def graphs(config: NetworkConfig) -> tuple[bytes, bytes]:
    """Analysis and synthesis of a network as it starts; time does not depend on the weights."""
    torch.manual_seed(0)
    network = Network(config)
    return export.to_onnx(network.analysis, 1, config.latents), export.to_onnx(
        network.synthesis, config.latents, 1
    )


@contextmanager
def transposed_convolutions():
    """Lets graphs be written with transposed convolutions instead of one convolution per output
    phase."""
    original = export._Graph.interleave

    def interleave(
        graph, x: str, kernel: np.ndarray, first: int, bias: np.ndarray | None = None
    ) -> str:
        taps = kernel.shape[2]
        reach = (taps - 1) // 4
        start = 2 * reach + first
        pads = [start, start, 4 * reach - 2 + taps - start, 4 * reach - 2 + taps - start]
        inputs = [x, graph.constant(kernel)] + ([] if bias is None else [graph.constant(bias)])
        return graph.add(
            "ConvTranspose", inputs, kernel_shape=[taps, taps], strides=[2, 2], pads=pads
        )

    export._Graph.interleave = interleave
    try:
        yield
    finally:
        export._Graph.interleave = original


def onnx_runtime(graph: bytes) -> Callable[[np.ndarray], np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def openvino(graph: bytes, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(openvino.Core().read_model(graph), "CPU", settings)
    return lambda x: compiled(x)[0]


def runtimes() -> dict[str, Callable[[bytes], Callable[[np.ndarray], np.ndarray]]]:
    found = {"ONNX Runtime": onnx_runtime}
    if find_spec("openvino") is None:
        print("OpenVINO is not installed and left out")
        return found
    return found | {
        "OpenVINO, float32": lambda g: openvino(g, "f32"),
        "OpenVINO, bfloat16": lambda g: openvino(g, "bf16"),
    }


def peak(rounds: int) -> float:
    """GFLOP/s of the runtime on a large convolution (64 to 64 channels, 3 x 3): the measured
    roof."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(64, 64, 3, 3)).astype(np.float32)
    graph = export._Graph()
    graph.add("Conv", ["x", graph.constant(weight)], kernel_shape=[3, 3], strides=[1, 1])
    run, x = (
        onnx_runtime(graph.serialized(64, 64)),
        rng.normal(size=(1, 64, 256, 256)).astype(np.float32),
    )
    return 2 * weight.size * 254**2 / seconds(lambda: run(x), rounds) / 1e9


def show(rows: list[Row]) -> None:
    """Print the networks and runtimes side by side."""
    head = (
        "",
        "runtime",
        "MAC/pixel, analysis",
        "synthesis",
        "Mpixel/s, analysis",
        "synthesis",
        "GFLOP/s, synthesis",
        "SNR of synthesis, dB",
    )
    keys = (
        "network",
        "runtime",
        "mac_analysis",
        "mac_synthesis",
        "mpixel_analysis",
        "mpixel_synthesis",
        "gflops_synthesis",
        "snr",
    )
    print_table(
        head,
        [tuple(f"{r[k]:.1f}" if isinstance(r[k], float) else r[k] for k in keys) for r in rows],
    )


def lifted(x: np.ndarray, rounds: int, roof: float) -> Row:
    """The row of the newest shipped model, whose wavelets are lifting steps in C."""
    model = isoq.load_model("eo16")
    y = model.analysis(x)
    taken = [
        seconds(lambda: model.analysis(x), rounds),
        seconds(lambda: model.synthesis(y), rounds),
    ]
    work, pixels = loads()["synthesis"].products, x.size
    return {
        "network": f"wavelet ({model.name})",
        "runtime": "lifting in C",
        "mac_analysis": work,
        "mac_synthesis": work,
        "mpixel_analysis": pixels / taken[0] / 1e6,
        "mpixel_synthesis": pixels / taken[1] / 1e6,
        "gflops_synthesis": 2 * work * pixels / taken[1] / 1e9,
        "roof_gflops": roof,
        "snr": float(10 * np.log10(np.var(x) / np.mean((model.synthesis(y) - x) ** 2))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--side", type=int, default=1024, help="pixels of the tile (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="the best of so many (default: %(default)s)"
    )
    options = parser.parse_args()
    models = [isoq.load_model(name) for name in SHIPPED]
    x = np.random.default_rng(0).normal(size=(1, 1, options.side, options.side)).astype(np.float32)
    pairs = {name: graphs(config) for name, config in NETWORKS.items()}
    for model in models:
        pairs[f"wavelet ({model.name})"] = (
            model.content.graphs["analysis"],
            model.content.graphs["synthesis"],
        )
    with transposed_convolutions():
        transposed = {name: graphs(config) for name, config in NETWORKS.items()}
    roof, pixels, rows = peak(options.rounds), x.size, []
    for name, (analysis, synthesis) in pairs.items():
        y = onnx_runtime(analysis)(x)
        work = [multiplications(g, v.shape) / pixels for g, v in ((analysis, x), (synthesis, y))]
        forms = [(runtime, start, analysis, synthesis) for runtime, start in runtimes().items()]
        if name in transposed:
            forms.insert(1, ("ONNX Runtime, transposed", onnx_runtime, *transposed[name]))
        for runtime, start, first, second in forms:
            there, back = start(first), start(second)
            taken = [
                seconds(lambda run=run, v=v: run(v), options.rounds)
                for run, v in ((there, x), (back, y))
            ]
            row: Row = {
                "network": name,
                "runtime": runtime,
                "mac_analysis": work[0],
                "mac_synthesis": work[1],
            }
            row |= {
                "mpixel_analysis": pixels / taken[0] / 1e6,
                "mpixel_synthesis": pixels / taken[1] / 1e6,
            }
            row |= {"gflops_synthesis": 2 * work[1] * pixels / taken[1] / 1e9, "roof_gflops": roof}
            reference = onnx_runtime(synthesis)(y)
            row["snr"] = float(
                10 * np.log10(np.var(reference) / max(np.mean((back(y) - reference) ** 2), 1e-30))
            )
            rows.append(row)
    rows.append(lifted(x, options.rounds, roof))
    save("transforms", rows, models[-1])
    show(rows)
    print(
        f"\nOne thread, {options.side} x {options.side}; the runtime reaches {roof:.0f} GFLOP/s "
        "on a 64-channel 3x3 convolution."
    )


if __name__ == "__main__":
    main()

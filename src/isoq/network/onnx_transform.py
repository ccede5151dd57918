"""Analysis and synthesis transforms on ONNX Runtime.

Floating point is allowed here, because nothing computed in this module chooses a probability
table."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ..errors import ModelMismatchError
from .graph_shapes import ShapeBudget


class Transform:
    """An ONNX graph with one float32 input and one output, (n, channels, h, w). Several threads may
    call it.

    Each thread of a caller's pool runs its own tile on one core. This scales better than splitting
    each convolution over the cores. The runtime is imported and the session built at the first
    call, so that reading a header costs neither."""

    def __init__(self, graph: bytes, optimize: bool = True, threads: int = 1):
        self._graph, self._optimize, self._threads = graph, optimize, threads
        self._session, self._lock, self._growth = None, threading.Lock(), ShapeBudget(graph)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self._growth.check(x.shape)  # before a session computes what depends on constants alone
        session = self._session or self._start()
        try:
            return session.run(None, {"x": x})[0]
        except Exception as error:  # the runtime has errors of its own, for memory too
            raise ModelMismatchError(
                f"the model's transform does not run: {str(error).splitlines()[0]}"
            ) from error

    def _start(self) -> Any:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise ModelMismatchError(
                f"the model's transforms are graphs and need more packages ({error}); pip install "
                "'isoq[learned]'"
            ) from error
        with self._lock:
            if self._session is None:
                options = ort.SessionOptions()
                options.intra_op_num_threads = self._threads
                options.inter_op_num_threads = 1
                options.log_severity_level = 4  # errors are raised; the log would repeat them
                level = ort.GraphOptimizationLevel
                options.graph_optimization_level = (
                    level.ORT_ENABLE_ALL if self._optimize else level.ORT_DISABLE_ALL
                )
                # A session that keeps the largest arena it ever needed would hold it for every
                # thread.
                options.enable_cpu_mem_arena = True
                try:
                    self._session = ort.InferenceSession(
                        self._graph, options, providers=["CPUExecutionProvider"]
                    )
                except Exception as error:
                    raise ModelMismatchError(
                        f"the model's transform does not load ({str(error).splitlines()[0]}); get "
                        "another copy of the model"
                    ) from error
            return self._session

"""The network that is served, by ONNX Runtime on one thread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

FILE = Path(__file__).resolve().parent.parent / "lenet5.onnx"
CHUNK = 32
"""Images per run: their activations take 1 MB, which fits a cache. Those of 256 take 12 MB, and
every few batches the allocator finds no place for them and grows, until the container is full."""


def load() -> onnxruntime.InferenceSession:
    """Load the model.

    One thread: an image takes microseconds, and a pool of threads would cost more to wake than
    it saves; parallel activations run in containers of their own.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(FILE), options, providers=["CPUExecutionProvider"])


def probabilities(
    session: onnxruntime.InferenceSession, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Probabilities of the ten digits, (N, 10), for raw pixels of shape (N, 1, 28, 28)."""
    parts = [
        session.run(["probabilities"], {"pixels": pixels[start : start + CHUNK]})[0]
        for start in range(0, len(pixels), CHUNK)
    ]
    return np.concatenate(parts)

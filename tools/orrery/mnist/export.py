"""A trained network becomes one ONNX file, and ONNX Runtime has to agree with PyTorch about it."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orrery.errors import TrainingError
from orrery.mnist import model
from orrery.mnist.data import Examples

if TYPE_CHECKING:
    from torch import nn

OPSET = 18
"""What the exporter writes without converting, and what ONNX Runtime knows since 1.14 (2023)."""
TOLERANCE = 1e-5
"""Largest difference of a probability between PyTorch and ONNX Runtime; both use float32."""


@dataclass(frozen=True)
class Exported:
    """What checking the file gave.

    Attributes:
        accuracy: Of ONNX Runtime on the test set.
        largest_difference: Of any probability, against PyTorch.
        opset: ONNX operator set of the file.
    """

    accuracy: float
    largest_difference: float
    opset: int


def export(network: nn.Module, path: Path, test: Examples) -> Exported:
    """Write the graph with its normalisation inside, then verify it on the whole test set.

    Input `pixels`: uint8, (N, 1, 28, 28), N free. Output `probabilities`: float32, (N, 10).

    Raises:
        TrainingError: ONNX Runtime's answers differ from PyTorch's.
    """
    import torch

    served = model.served(network)
    # Two images: the exporter would take a batch of one for a constant.
    sample = torch.zeros(2, 1, model.SIDE, model.SIDE, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # PyTorch's exporter uses what PyTorch itself calls deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        torch.onnx.export(
            served,
            (sample,),
            path,
            dynamo=True,
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=["probabilities"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
            external_data=False,
            optimize=True,
            verbose=False,
        )
    _strip(path)
    return verify(served, path, test)


def _strip(path: Path) -> None:
    """Drop the exporter's notes about source lines: they hold paths of the machine it ran on."""
    import onnx

    graph = onnx.load(path)
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output):
        del value.metadata_props[:]
    del graph.graph.metadata_props[:]
    del graph.metadata_props[:]
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def verify(served: nn.Module, path: Path, test: Examples) -> Exported:
    """Compare ONNX Runtime with PyTorch on every test image, one by one and in a batch.

    Raises:
        TrainingError: They differ.
    """
    import numpy as np
    import onnx
    import onnxruntime
    import torch

    count = len(test.labels)
    images = np.frombuffer(test.images.data, np.uint8).reshape(count, 1, model.SIDE, model.SIDE)
    labels = np.frombuffer(test.labels.data, np.uint8)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"pixels": images})
    with torch.no_grad():
        wanted = served(torch.from_numpy(images.copy())).numpy()
    single = np.concatenate(
        [session.run(["probabilities"], {"pixels": images[i : i + 1]})[0] for i in range(10)]
    )
    largest = float(max(np.abs(found - wanted).max(), np.abs(single - wanted[:10]).max()))
    if largest > TOLERANCE:
        raise TrainingError(f"{path}: ONNX Runtime differs from PyTorch by {largest:g}")
    opset = onnx.load(path).opset_import[0].version
    return Exported(float((found.argmax(1) == labels).mean()), largest, opset)

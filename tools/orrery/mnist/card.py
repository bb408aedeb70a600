"""The model card: what a served model was made from, by what, and how good it is."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orrery.mnist import model
from orrery.mnist.data import Part, write_atomically

if TYPE_CHECKING:
    from orrery.mnist.export import Exported

SCHEMA = 1
PACKAGES = ("torch", "numpy", "onnx", "onnxscript", "onnxruntime")


def make(
    onnx_file: Path,
    *,
    settings: Mapping[str, Any],
    accuracies: Sequence[float],
    exported: Exported,
    seconds: float,
) -> dict[str, Any]:
    """Describe a model that was just exported.

    Args:
        onnx_file: The model as it was exported.
        settings: Everything that the training depended on.
        accuracies: Test accuracy after each epoch, PyTorch.
        exported: What checking the file gave.
        seconds: Time of the training loop [s].
    """
    return {
        "schema": SCHEMA,
        "model": "LeNet-5",
        "parameters": model.PARAMETERS,
        "file": onnx_file.name,
        "sha256": hashlib.sha256(onnx_file.read_bytes()).hexdigest(),
        "input": "pixels: uint8, (N, 1, 28, 28), 0 is background and 255 is ink",
        "output": "probabilities: float32, (N, 10)",
        "normalisation": {"inside": True, "mean": model.MEAN, "deviation": model.DEVIATION},
        "data": {"name": "MNIST", "md5": {part.value.name: part.value.md5 for part in Part}},
        "training": dict(settings),
        "training_seconds": round(seconds, 1),
        "accuracy": exported.accuracy,
        "accuracy_after_epoch": list(accuracies),
        "export": asdict(exported),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "intended_use": "Single handwritten digits, as in MNIST. It has no class for anything else",
    }


def write(card: Mapping[str, Any], path: Path) -> None:
    """Write a card as JSON."""
    write_atomically(path, (json.dumps(card, indent=2) + "\n").encode())

"""Train LeNet-5 on MNIST and write what is served: `python -m orrery.mnist.train`.

Runs in the training venv (torch, numpy, onnx, onnxruntime), which `./lab mnist.train` makes. With
the same seed, versions and kind of processor it gives the same weights: one thread, deterministic
kernels, and all randomness from one generator.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orrery.errors import OrreryError, TrainingError
from orrery.mnist import card, data, export, model

if TYPE_CHECKING:
    import torch
    from torch import nn

EVALUATION_BATCH = 2000


@dataclass(frozen=True)
class Settings:
    """What a training run depends on.

    Attributes:
        epochs: Passes over the 60,000 images.
        batch: Images per step.
        rate: Peak of the one-cycle learning rate.
        seed: Of the initial weights, the order of images and the augmentation.
        shift_px: Largest shift of an image in each direction [pixels].
        degrees: Largest rotation [degrees].
        scale: Largest relative change of size.
        threads: Threads of PyTorch; results are reproducible for the same number.
    """

    epochs: int = 10
    batch: int = 128
    rate: float = 0.004
    seed: int = 1
    shift_px: float = 1.5
    degrees: float = 8.0
    scale: float = 0.08
    threads: int = 1


@dataclass(frozen=True)
class Trained:
    """A trained network and how it came to be.

    Attributes:
        accuracies: Test accuracy after each epoch.
        seconds: Time of the training loop [s].
    """

    network: nn.Module
    accuracies: list[float] = field(default_factory=list)
    seconds: float = 0.0


def tensors(examples: data.Examples) -> tuple[torch.Tensor, torch.Tensor]:
    """Images as float32 of shape (N, 1, 28, 28), normalised, and labels as int64."""
    import torch

    count = len(examples.labels)
    pixels = torch.frombuffer(bytearray(examples.images.data), dtype=torch.uint8)
    images = pixels.reshape(count, 1, model.SIDE, model.SIDE).to(torch.float32)
    images = (images / 255.0 - model.MEAN) / model.DEVIATION
    labels = torch.frombuffer(bytearray(examples.labels.data), dtype=torch.uint8)
    return images, labels.to(torch.int64)


def augment(images: torch.Tensor, settings: Settings, generator: torch.Generator) -> torch.Tensor:
    """Shift, turn and scale every image of a batch a little, each by its own random amount."""
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    count = images.shape[0]
    amount = torch.rand(4, count, generator=generator) * 2.0 - 1.0
    angle = amount[0] * settings.degrees * torch.pi / 180.0
    size = 1.0 + amount[1] * settings.scale
    shift = amount[2:] * settings.shift_px * 2.0 / model.SIDE
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    matrix = torch.stack(
        [torch.stack([cos, -sin, shift[0]], dim=1), torch.stack([sin, cos, shift[1]], dim=1)], dim=1
    )
    grid = affine_grid(matrix, list(images.shape), align_corners=False)
    # Sampling pads with 0, so the background is moved to 0 first.
    background = -model.MEAN / model.DEVIATION
    return grid_sample(images - background, grid, align_corners=False) + background


def train(
    training: data.Examples,
    test: data.Examples,
    settings: Settings,
    report: Callable[[int, float, float], None],
) -> Trained:
    """Adam with a one-cycle learning rate (Smith & Topin 2019, arXiv 1708.07120).

    Args:
        training: The 60,000 images to learn from.
        test: The 10,000 images to measure with after each epoch.
        settings: Everything the result depends on.
        report: Gets epoch (from 1), test accuracy and seconds so far after every epoch.

    Raises:
        TrainingError: The loss stopped being a number.
    """
    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    images, labels = tensors(training)
    test_images, test_labels = tensors(test)
    network = model.build()
    optimizer = torch.optim.Adam(network.parameters())
    steps = -(-len(labels) // settings.batch) * settings.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.rate, total_steps=steps)
    began = time.monotonic()
    accuracies = []
    for epoch in range(1, settings.epochs + 1):
        network.train()
        for chosen in torch.randperm(len(labels), generator=generator).split(settings.batch):
            logits = network(augment(images[chosen], settings, generator))
            loss = cross_entropy(logits, labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if not torch.isfinite(loss):
            raise TrainingError(f"epoch {epoch}: the loss is {loss.item()}. Lower --rate.")
        accuracies.append(accuracy(network, test_images, test_labels))
        report(epoch, accuracies[-1], time.monotonic() - began)
    return Trained(network, accuracies, time.monotonic() - began)


def accuracy(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images whose largest logit is that of the label."""
    import torch

    network.eval()
    with torch.no_grad():
        right = sum(
            int((network(some).argmax(1) == wanted).sum())
            for some, wanted in zip(
                images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True
            )
        )
    return right / len(labels)


def make(folder: Path, output: Path, settings: Settings) -> dict[str, Any]:
    """Train, export, verify the export and write model and card.

    Returns:
        The model card.
    """
    training = data.load(folder, train=True)
    test = data.load(folder, train=False)
    trained = train(training, test, settings, _print_epoch)
    output.mkdir(parents=True, exist_ok=True)
    onnx_file = output / "lenet5.onnx"
    exported = export.export(trained.network, onnx_file, test)
    written = card.make(
        onnx_file,
        settings=asdict(settings),
        accuracies=trained.accuracies,
        exported=exported,
        seconds=trained.seconds,
    )
    card.write(written, output / "model-card.json")
    return written


def _print_epoch(epoch: int, value: float, seconds: float) -> None:
    print(f"epoch {epoch}: {value:.2%} of the test images right, {seconds:.0f} s", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Entry point; prints one line per epoch."""
    parser = argparse.ArgumentParser(prog="python -m orrery.mnist.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the four files")
    parser.add_argument("--output", type=Path, required=True, help="folder for model and card")
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = vars(parser.parse_args(argv))
    folder, output = options.pop("data"), options.pop("output")
    try:
        written = make(folder, output, Settings(**options))
    except OrreryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{output / written['file']}: {written['accuracy']:.2%} as served")
    return 0


if __name__ == "__main__":
    sys.exit(main())

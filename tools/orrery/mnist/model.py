"""LeNet-5, and the graph that is served: raw pixels in, probabilities out.

PyTorch is imported by the functions, not by the module: only the training venv has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

MEAN = 0.1307
"""Mean of the training set's pixels, scaled to 0..1."""
DEVIATION = 0.3081
"""Standard deviation of the training set's pixels, scaled to 0..1."""
PARAMETERS = 61_706
SIDE = 28
"""Height and width of an image [pixels]."""


def build() -> nn.Module:
    """LeNet-5 (LeCun et al. 1998) with ReLU, max pooling and full connections between its layers.

    Takes normalised images of shape (N, 1, 28, 28), returns logits of shape (N, 10). The first
    convolution pads by 2, so that 28 pixels stand for the 32 of the paper.
    """
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def served(network: nn.Module) -> nn.Module:
    """Wrap a trained network for serving.

    Takes raw pixels, uint8 of shape (N, 1, 28, 28), and returns probabilities of shape (N, 10):
    whoever calls it cannot forget the normalisation that the network was trained with.
    """
    import torch
    from torch import nn

    class Served(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            scaled = (pixels.to(torch.float32) / 255.0 - MEAN) / DEVIATION
            return torch.softmax(self.network(scaled), dim=1)

    return Served().eval()


def count_parameters(network: nn.Module) -> int:
    """How many weights and biases a network has."""
    return sum(tensor.numel() for tensor in network.parameters())

"""MNIST and the one LeNet-5 that all rooms use: data, training, export and evaluation."""

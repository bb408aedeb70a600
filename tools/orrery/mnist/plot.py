"""The confusion matrix as a picture."""

from __future__ import annotations

from pathlib import Path

from orrery.mnist.evaluate import Evaluation


def confusion(evaluation: Evaluation, title: str, path: Path) -> None:
    """Write a PNG: rows are digits, columns what they were read as, mistakes are shaded."""
    # Half a second that no other task has to wait for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    matrix = evaluation.confusion
    size = range(len(matrix))
    mistakes = [[0 if row == column else matrix[row][column] for column in size] for row in size]
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = FigureCanvasAgg(figure).figure.add_subplot()
    shade = axes.imshow(mistakes, cmap="Reds", vmin=0)
    for row in size:
        for column in size:
            if matrix[row][column]:
                weight = "bold" if row == column else "normal"
                axes.text(column, row, matrix[row][column], ha="center", va="center", weight=weight)
    axes.set(xticks=size, yticks=size, xlabel="read as", ylabel="digit", title=title)
    figure.colorbar(shade, label="mistakes")
    figure.savefig(path, dpi=120)

"""Contact sheets: many slices with labels over them, to be looked at."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

from .anatomy import IGNORE  # noqa: E402

COLOURS = ("#00000000", "#3a7bd580", "#e0404090", "#9acd3290", "#ff9f4080", "#80000060")


def draw(path: Path, items: list[tuple[str, np.ndarray, np.ndarray, tuple[float, float]]], columns: int = 12) -> None:
    """One tile per `(title, image, label, spacing)`."""
    rows = -(-len(items) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(2.2 * columns, 2.8 * rows), squeeze=False)
    colours = matplotlib.colors.ListedColormap(COLOURS)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, image, label, spacing) in zip(axes.flat, items):
        extent = (0, image.shape[1] * spacing[1], image.shape[0] * spacing[0], 0)
        axis.imshow(image, cmap="gray", extent=extent, vmax=np.percentile(image, 99))
        shown = np.where(label == IGNORE, 5, label)
        axis.imshow(shown, cmap=colours, vmin=0, vmax=5, extent=extent, interpolation="nearest")
        axis.set_title(title, fontsize=7)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=75)
    pyplot.close(figure)

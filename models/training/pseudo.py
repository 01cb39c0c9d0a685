"""`python -m training.pseudo`: network 1 labels the real T1 slices it is then trained on.

A teacher trained on T2-SPACE masks knows T2 best; where T2 lies on T1's matrix its
opinion counts as well. Unsure pixels are ignored. A contact sheet is drawn, to be
looked at before the labels are used. Test patients are labelled too, for evaluation
only: whoever reads the file takes one split of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_closing, map_coordinates
from scipy.ndimage import label as connected

from . import labels, levels, preprocess, sheet, spider, weights
from .anatomy import CLASSES, IGNORE
from .network import UNet
from .vertebrae import PIXEL_MM

SURE = 0.6
MOST_UNSURE = 0.15  # of a spine's pixels
FEWEST_BODIES = 5
SCALES = (0.9, 1.0, 1.1)


@torch.inference_mode()
def probabilities(net: UNet, image: np.ndarray, spacing: tuple[float, float], scales: tuple[float, ...] = SCALES) -> np.ndarray:
    """Class probabilities `[classes, row, column]` on the slice's own grid, averaged over scales."""
    total = np.zeros((len(CLASSES), *image.shape), np.float32)
    for scale in scales:
        pixel = PIXEL_MM * scale
        small = preprocess.local(preprocess.resample(image, spacing, pixel), PIXEL_MM)
        padded = torch.from_numpy(preprocess.pad(small, 16))[None, None]
        guess = net(padded).softmax(1)[0, :, : small.shape[0], : small.shape[1]].numpy()
        total += [back(g, image.shape, spacing, pixel) for g in guess]
    return total / len(scales)


def back(values: np.ndarray, shape: tuple[int, int], spacing: tuple[float, float], pixel_mm: float) -> np.ndarray:
    """`preprocess.resample` undone: bilinear onto the original grid."""
    axes = [(np.arange(n) + 0.5) * s / pixel_mm - 0.5 for n, s in zip(shape, spacing)]
    return map_coordinates(values, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")


def tidied(label: np.ndarray, spacing: tuple[float, float]) -> np.ndarray | None:
    """Only the spine itself; None where the labels don't look like one."""
    parts, count = connected(binary_closing(label > 0, iterations=round(4 / spacing[0])))
    if not count:
        return None
    spine = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    label = np.where(spine, label, 0).astype(np.uint8)
    unsure = (label == IGNORE).sum() / max(1, (label > 0).sum())
    seen = levels.find(label, spacing)
    return label if unsure < MOST_UNSURE and seen and seen.bodies >= FEWEST_BODIES else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True, help="of a teacher, or the shipped network.onnx")
    parser.add_argument("--t2-weight", type=float, default=0.6, help="the T2 opinion's share, 0 to 1")
    parser.add_argument("--out", type=Path, required=True, help="labels (.pkl.gz); the sheet lies beside it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    net, out = weights.load(args.checkpoint), []
    for pair in spider.pairs(args.data):
        if not pair.same_matrix:
            continue
        guess = probabilities(net, pair.t1, pair.t1_spacing) * (1 - args.t2_weight)
        if args.t2_weight:
            guess += args.t2_weight * probabilities(net, pair.t2, pair.t1_spacing)
        label = guess.argmax(0).astype(np.uint8)
        label[guess.max(0) < SURE] = IGNORE
        label = tidied(label, pair.t1_spacing)
        if label is None:
            print(f"patient {pair.patient}: left out")
            continue
        out.append(
            dict(source="pseudo", patient=pair.patient, image=pair.t1, label=label, spacing=pair.t1_spacing, remap=False)
        )
    labels.write(args.out, out)
    sheet.draw(args.out.with_suffix(".png"), [(s["patient"], s["image"], s["label"], s["spacing"]) for s in out])


if __name__ == "__main__":
    main()

"""`python -m training.pseudo`: network 1 labels the real T1 slices it is then trained on.

A teacher trained on T2-SPACE masks knows T2 best, so T2's opinion counts as well. Unsure pixels are ignored; a patient
whose bodies don't fit the graded discs is left out. Test patients are labelled too: network 2's evaluation needs it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_closing, map_coordinates
from scipy.ndimage import label as connected

from . import dataset, levels, preprocess, sheet, weights
from .anatomy import CLASSES, IGNORE
from .network import UNet
from .vertebrae import PIXEL_MM

SURE = 0.6
MOST_UNSURE = 0.15  # of a spine's pixels
FEWEST_BODIES = 5
MOST_OFF = 1  # bodies above S1 more or fewer than graded discs
SCALES = (0.9, 1.0, 1.1)


@torch.inference_mode()
def probabilities(net: UNet, image: np.ndarray, spacing: tuple[float, float], scales: tuple[float, ...] = SCALES) -> np.ndarray:
    """Class probabilities `[classes, row, column]` on the slice's own grid, averaged over scales."""
    total = np.zeros((len(CLASSES), *image.shape), np.float32)
    for scale in scales:
        pixel = PIXEL_MM * scale
        small = preprocess.local(preprocess.resample(image, spacing, pixel), PIXEL_MM)
        alone = torch.from_numpy(preprocess.pad(small, 16))[None, None].expand(-1, net.inputs, -1, -1)
        guess = net(alone).softmax(1)[0, :, : small.shape[0], : small.shape[1]].numpy()
        total += [back(g, image.shape, spacing, pixel) for g in guess]
    return total / len(scales)


def back(values: np.ndarray, shape: tuple[int, int], spacing: tuple[float, float], pixel_mm: float) -> np.ndarray:
    """`preprocess.resample` undone: bilinear onto the original grid."""
    axes = [(np.arange(n) + 0.5) * s / pixel_mm - 0.5 for n, s in zip(shape, spacing)]
    return map_coordinates(values, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")


def tidied(label: np.ndarray, spacing: tuple[float, float], discs: int) -> np.ndarray | None:
    """Only the spine itself; None where the labels don't look like one."""
    parts, count = connected(binary_closing(label > 0, iterations=round(4 / spacing[0])))
    if not count:
        return None
    spine = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    label = np.where(spine, label, 0).astype(np.uint8)
    unsure = (label == IGNORE).sum() / max(1, (label > 0).sum())
    seen = levels.find(label, spacing)
    fits = seen and seen.bodies >= FEWEST_BODIES and abs(seen.bodies - 1 - discs) <= MOST_OFF
    return label if unsure < MOST_UNSURE and fits else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the data set; `labels/` in it is written")
    parser.add_argument("--checkpoint", type=Path, required=True, help="of a teacher, or the shipped network.onnx")
    parser.add_argument("--t2-weight", type=float, default=0.6, help="the T2 opinion's share, 0 to 1")
    parser.add_argument("--sheet", type=Path, required=True, help="contact sheet (.png), to be looked at")
    args = parser.parse_args()
    torch.set_num_threads(1)
    net, tiles = weights.load(args.checkpoint), []
    for case in dataset.pairs([args.data]):
        spacing, middle = case.t1.spacing, len(case.t1.data) // 2
        slices = [labels_of(net, *pair, spacing, args.t2_weight) for pair in zip(case.t1.data, case.t2.data)]
        tidy = [tidied(one, spacing, len(case.grades)) for one in slices]
        if tidy[middle] is None:
            print(f"patient {case.patient}: left out")
            continue
        case.write("labels", np.stack([np.full(s.shape, IGNORE) if t is None else t for s, t in zip(slices, tidy)]))
        tiles.append((case.patient, case.t1.data[middle], tidy[middle], spacing))
    sheet.draw(args.sheet, tiles)


def labels_of(net: UNet, t1: np.ndarray, t2: np.ndarray, spacing: tuple[float, float], t2_weight: float) -> np.ndarray:
    guess = probabilities(net, t1, spacing) * (1 - t2_weight)
    if t2_weight:
        guess += t2_weight * probabilities(net, t2, spacing)
    label = guess.argmax(0).astype(np.uint8)
    label[guess.max(0) < SURE] = IGNORE
    return label


if __name__ == "__main__":
    main()

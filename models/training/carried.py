"""`python -m training.carried`: T2-SPACE masks carried over to the T1 mid-slice of the same patient.

The slab of SPACE slices that fits the T2 mid-slice best is laid over it (rotation, shift, scale of rows and
columns; correlation around the spine), and moved to where T1's edges are. Written as the data set's `masks/`.
A contact sheet is drawn: what doesn't fit is named in `carried_unfit.txt`. Test patients are carried too, for evaluation
only.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from scipy.optimize import minimize
from scipy.signal import fftconvolve

from . import anatomy, augment, dataset, preprocess, register, sheet
from .anatomy import IGNORE

PIXEL_MM = 2.0  # of the search; the last fit runs at half of it
AROUND_MM = 12.0  # of the spine, that the fit looks at
SLAB = 1  # slices each side, 2 mm apart: about a T1 slice's thickness
LEAST_FIT = 0.6  # correlation
UNFIT = Path(__file__).with_name("carried_unfit.txt").read_text().split()
SCALES = (0.0, -40.0, 40.0)  # per cent: two pictures' spacing is far off


@dataclass(frozen=True)
class Fit:
    """How well masks lie on a T1 slice; `at` as in `view`."""

    correlation: float
    slice: int
    at: np.ndarray
    moved_mm: np.ndarray  # of T2 against T1
    outer_dice: float  # of the bodies on the slab's two outer slices: what a slice's thickness alone changes


@dataclass(frozen=True)
class Picture:
    """A slice in a search's pixels, signal over its surroundings."""

    image: np.ndarray
    spacing: tuple[float, float]

    @staticmethod
    def of(image: np.ndarray, spacing: tuple[float, float], pixel_mm: float) -> Picture:
        return Picture(preprocess.local(preprocess.resample(image, spacing, pixel_mm), pixel_mm), (pixel_mm, pixel_mm))


def view(at: np.ndarray, size: tuple[int, int], spacing: tuple[float, float]) -> augment.View:
    """`at`: centre's row and column in mm, angle in degrees, scale of rows and of columns less 1 in per cent."""
    scale = tuple((1 + a / 100) * s for a, s in zip(at[3:], spacing))
    return augment.View(size, 1.0, (at[0], at[1]), float(np.deg2rad(at[2])), scale)


def correlation(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    a, b = a[where] - a[where].mean(), b[where] - b[where].mean()
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-6))


def fit(target: Picture, moving: Picture, spine: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
    """Where `moving` lies under `target`, and their correlation around the spine."""
    both = np.stack((moving.image, spine.astype(np.float32)))
    least = 0.5 * spine.sum()

    def misfit(at: np.ndarray) -> float:
        image, near = view(at, target.image.shape, target.spacing).take(both, moving.spacing)
        where = near > 0.5
        if where.sum() < least:
            return 1.0
        return 1 - correlation(target.image, image, where) + 1e-3 * float(((at - start)[2:] ** 2).sum()) / 25

    found = minimize(misfit, start, method="Powell", options={"xtol": 0.02, "ftol": 1e-5, "maxiter": 12})
    return found.x, 1 - misfit(found.x)


def first_guess(target: Picture, moving: Picture, spine: np.ndarray, scale: float) -> np.ndarray:
    """The shift alone, at a scale less 1 in per cent."""
    size = (np.array(moving.image.shape) * moving.spacing / target.spacing / (1 + scale / 100)).astype(int)
    middle = np.array(moving.image.shape) * moving.spacing / 2
    look = view(np.array([*middle, 0.0, scale, scale]), tuple(size), target.spacing)
    part, near = look.take(np.stack((moving.image, spine.astype(np.float32))), moving.spacing)
    part = np.where(near > 0.5, part - part[near > 0.5].mean(), 0)
    score = fftconvolve(target.image - target.image.mean(), part[::-1, ::-1], mode="full")
    peak = np.array(np.unravel_index(score.argmax(), score.shape)) - (np.array(part.shape) - 1)
    off = (np.array(target.image.shape) - 1) / 2 - peak - (np.array(part.shape) - 1) / 2
    return np.array([*(middle + off * target.spacing * (1 + scale / 100)), 0.0, scale, scale])


def slab(stack: np.ndarray, k: int) -> np.ndarray:
    return stack[max(0, k - SLAB) : k + SLAB + 1]


def carry(case: dataset.Case) -> tuple[np.ndarray, Fit]:
    """The mask of T1's middle slice in SPIDER's labels, `IGNORE` where unknown, and how well it fits."""
    volume, mask = case.space
    spacing, images, bones = volume.spacing, volume.data.astype(np.float32), mask > 0
    middle, onto_spacing = len(case.t1.data) // 2, case.t1.spacing
    target = Picture.of(case.t2.data[middle], onto_spacing, PIXEL_MM)
    best = (-1.0, 0, np.zeros(5))
    for k in sorted(range(len(mask)), key=lambda k: abs(k - len(mask) // 2)):
        moving, spine = _moving(slab(images, k).mean(0), bones[k], spacing, PIXEL_MM)
        starts = [best[2]] if best[0] >= LEAST_FIT else [first_guess(target, moving, spine, s) for s in SCALES]
        for start in starts:
            at, score = fit(target, moving, spine, start)
            best = max(best, (score, k, at), key=lambda b: b[0])
            if best[0] >= LEAST_FIT:
                break
    _, k, at = best
    fine = PIXEL_MM / 2
    target = Picture.of(case.t2.data[middle], onto_spacing, fine)
    at, score = fit(target, *_moving(slab(images, k).mean(0), bones[k], spacing, fine), at)
    t1, t2 = case.t1.data[middle], case.t2.data[middle]
    _, spine = _laid(volume, mask, k, at, t1.shape, onto_spacing)
    off, _ = register.edge_shift(t1[None], t2[None], ((spine > 0) & (spine != IGNORE))[None], onto_spacing)
    seen, label = _laid(volume, mask, k, at + [*off, 0, 0, 0], t1.shape, onto_spacing)
    first, last = ((s > 0) & (s < anatomy.MASK_CANAL) for s in (seen[0], seen[-1]))
    return label, Fit(score, k, at, off, float(2 * (first & last).sum() / max(1, first.sum() + last.sum())))


def _laid(
    volume: dataset.Volume, mask: np.ndarray, k: int, at: np.ndarray, size: tuple[int, int], spacing: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """The slab around slice `k` of the mask as it lies under a picture, and what most of its slices say."""
    onto = view(at, size, spacing)
    seen = np.stack([onto.take(m, volume.spacing, nearest=True).round().astype(np.uint8) for m in slab(mask, k)])
    inside = onto.take(np.ones(mask[0].shape), volume.spacing) > 0.99
    return seen, np.where(inside, anatomy.majority(seen), IGNORE).astype(np.uint8)


def _moving(image: np.ndarray, bone: np.ndarray, spacing: tuple[float, float], pixel_mm: float) -> tuple[Picture, np.ndarray]:
    spine = preprocess.resample(bone.astype(np.float32), spacing, pixel_mm) > 0.5
    return Picture.of(image, spacing, pixel_mm), binary_dilation(spine, iterations=round(AROUND_MM / pixel_mm))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the data set; `masks/` in it is added to")
    parser.add_argument("--sheet", type=Path, required=True, help="contact sheet (.png), to be looked at")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tiles = []
    for case in dataset.pairs([args.data]):
        if case.space is None or case.patient in UNFIT:
            continue
        label, how = carry(case)
        print(f"patient {case.patient}: {how}", flush=True)
        whole, middle = np.full(case.t1.data.shape, IGNORE, np.uint8), len(case.t1.data) // 2
        whole[middle] = label
        case.write("masks", whole)
        tiles.append((case.patient, case.t1.data[middle], anatomy.classes_of(label[None], case.t1.spacing)[0], case.t1.spacing))
    sheet.draw(args.sheet, tiles)


if __name__ == "__main__":
    main()

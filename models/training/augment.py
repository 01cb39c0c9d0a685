"""Random geometry and random contrast, so that a network learns shape, not a scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, zoom
from torch.nn.functional import grid_sample

from .anatomy import CANAL, DISC, S1, VERTEBRA


@dataclass(frozen=True)
class View:
    """An affine look at a slice: where each output pixel lies in the source, in mm."""

    size: tuple[int, int]
    pixel_mm: float
    centre_mm: tuple[float, float]
    angle: float = 0.0  # radians
    scale: tuple[float, float] = (1.0, 1.0)

    def take(self, image: np.ndarray, spacing: tuple[float, float], nearest: bool = False) -> np.ndarray:
        """`image` (`[..., row, column]`) seen through this view, zeros outside it."""
        y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in self.size), indexing="ij")
        y, x = y * self.pixel_mm * self.scale[0], x * self.pixel_mm * self.scale[1]
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        rows = (self.centre_mm[0] + cos * y - sin * x) / spacing[0]
        columns = (self.centre_mm[1] + sin * y + cos * x) / spacing[1]
        height, width = image.shape[-2:]
        grid = np.stack((2 * columns / width - 1, 2 * rows / height - 1), -1).astype(np.float32)
        stack = torch.from_numpy(image.reshape(1, -1, height, width).astype(np.float32))
        mode = "nearest" if nearest else "bilinear"
        out = grid_sample(stack, torch.from_numpy(grid)[None], mode=mode, align_corners=False)
        return out.numpy().reshape(*image.shape[:-2], *self.size)


def random_view(rng: np.random.Generator, size: tuple[int, int], pixel_mm: float, around_mm: tuple[float, float],
                turned: float = 0.0) -> View:  # fmt: skip
    """Rotation up to 20 degrees, scale 0.8 to 1.25, near `around_mm`; a share `turned` up to 28 degrees, evenly."""
    scale = float(np.exp(rng.uniform(np.log(0.8), np.log(1.25))))
    stretch = float(np.exp(rng.normal(0, 0.04)))
    shift = rng.normal(0, (0.16 * size[0] * pixel_mm, 0.12 * size[1] * pixel_mm))
    angle = float(np.clip(rng.normal(0, np.deg2rad(8)), -np.deg2rad(20), np.deg2rad(20)))
    if rng.random() < turned:
        angle = float(np.deg2rad(rng.uniform(-28, 28)))
    centre = (around_mm[0] + shift[0], around_mm[1] + shift[1])
    return View(size, pixel_mm, centre, angle, (scale, scale * stretch))


def remap_classes(rng: np.random.Generator, image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Gives disc and canal (and marrow) another brightness and texture: T2 comes to look like T1."""
    body = np.isin(label, (VERTEBRA, S1))
    if body.sum() < 50:
        return image
    marrow = np.median(image[body])
    spread = {
        CANAL: (rng.uniform(0.1, 0.7) if rng.random() < 0.7 else rng.uniform(0.7, 2.2)),
        DISC: rng.uniform(0.25, 0.9) if rng.random() < 0.8 else rng.uniform(0.9, 1.6),
    }
    out = image.copy()
    for cls, level in spread.items():
        inside = label == cls
        if inside.sum() < 20:
            continue
        soft = gaussian_filter(inside.astype(np.float32), 0.6, axes=(-2, -1))
        mean = image[inside].mean()
        texture = rng.uniform(-0.4, 0.6) * (image - mean) * min(1.0, marrow / (mean + 1e-3))
        out = out * (1 - soft) + soft * (level * marrow + texture)
    return np.maximum(out, 0)


def recontrast(rng: np.random.Generator, image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Any sequence: every class gets its own brightness, everything else a random curve; texture and edges stay."""
    body = np.isin(label, (VERTEBRA, S1))
    if body.sum() < 50:
        return image
    marrow = np.median(image[body]) + 1e-3
    knots = np.array([0, 0.4, 0.8, 1.2, 2.0, 8.0]) * marrow
    curve = marrow * np.array([0.05, *np.exp(rng.normal(np.log([0.4, 0.7, 0.9, 1.3]), 0.35)), rng.uniform(1, 4)])
    out = np.interp(image, knots, curve).astype(np.float32)
    bone = rng.uniform(0.4, 1.6)
    levels = {VERTEBRA: bone, S1: bone * rng.uniform(0.85, 1.15), DISC: rng.uniform(0.15, 1.8), CANAL: rng.uniform(0.1, 2.2)}
    for cls, level in levels.items():
        inside = label == cls
        if inside.sum() < 20:
            continue
        if cls == DISC and 0.85 < level / bone < 1.15:  # a disc that can't be told from bone teaches nothing
            level *= 0.7
        soft = gaussian_filter(inside.astype(np.float32), 0.6, axes=(-2, -1))
        texture = rng.uniform(0.2, 1.2) * (image - np.median(image[inside]))
        out = out * (1 - soft) + soft * (level * marrow + texture)
    return np.maximum(out, 0)


def cut(rng: np.random.Generator, label: np.ndarray, pixel_mm: float) -> tuple[slice, slice]:
    """Rows and columns that a shorter field of view keeps: often without S1, sometimes without the upper bodies."""
    rows, columns = label.shape
    top, bottom, left, right = 0, rows, 0, columns
    sacrum = np.flatnonzero((label == S1).any(1))
    low = sacrum[0] if len(sacrum) else np.flatnonzero((label > 0).any(1)).max(initial=rows - 1)
    if rng.random() < 0.7:
        bottom = int(np.clip(low + rng.uniform(-45, 25) / pixel_mm, 64, rows))
    if rng.random() < 0.4:
        top = int(rng.uniform(0, max(1, min(bottom - 64, 0.5 * rows))))
    if rng.random() < 0.2:
        left = int(rng.uniform(0, 0.3 * columns))
    if rng.random() < 0.2:
        right = int(columns - rng.uniform(0, 0.25 * columns))
    return slice(top, bottom), slice(left, right)


def shade(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> np.ndarray:
    """A smooth positive field: a coil's slope plus a few broad bumps."""
    coarse = zoom(rng.normal(0, 1, (4, 3)), (shape[0] / 4, shape[1] / 3), order=1)
    slope = np.linspace(-1, 1, shape[1])[None, :] * rng.normal(0, 1) + np.linspace(-1, 1, shape[0])[:, None] * rng.normal(0, 0.7)
    return np.exp(strength * (0.6 * gaussian_filter(coarse, 8) + slope)).astype(np.float32)


def degrade(rng: np.random.Generator, image: np.ndarray, low_field: float = 0.0) -> np.ndarray:
    """Gamma, blur, low resolution, noise, clipping: what scanners and exports do; a share as noisy as at 0.3 T."""
    top = np.percentile(image, 99.5) + 1e-6
    image = np.clip(image / top, 0, 2) ** np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.4:
        image = gaussian_filter(image, rng.uniform(0.3, 1.1), axes=(-2, -1))
    if rng.random() < 0.25:
        factor = rng.uniform(1.2, 2.0)
        small = zoom(image, [1] * (image.ndim - 2) + [1 / factor] * 2, order=1)
        image = zoom(small, [a / b for a, b in zip(image.shape, small.shape)], order=1)
    if rng.random() < 0.6:
        noise = rng.uniform(0.06, 0.13) if rng.random() < low_field else rng.uniform(0.005, 0.06)
        image = np.hypot(image + rng.normal(0, noise, image.shape), rng.normal(0, noise, image.shape))
    if rng.random() < 0.3:
        image = np.minimum(image, rng.uniform(0.5, 1.0))
    return image.astype(np.float32)

"""What happens to pixels between a DICOM slice and a network's input.

The daemon does the same in Rust at inference, so every step here is exact and
small: change one only together with `daemon/src/segment` and `daemon/src/volume`.
Slices are `[row head->feet, column front->back]`, float32.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

LOCAL_SIGMA_MM = 25.0
LOCAL_FLOOR = 0.1
CLIP = 3.0
FIT_ROUNDS = 10
CAUCHY_SCALE = 2.385  # 95 % efficiency on Gaussian residuals
LEAST_SPREAD = 0.02  # of log signal, so that a noise-free picture doesn't divide by zero
RIDGE = 1e-3


def resample(image: np.ndarray, spacing_mm: tuple[float, float], pixel_mm: float) -> np.ndarray:
    """Catmull and Rom's cubic, not below 0; pixel centres aligned at the image's corner.

    Output pixel i lies at source row `(i + 0.5) * pixel_mm / spacing - 0.5`, or on
    the outermost one; the output has `max(1, floor(n * spacing / pixel_mm + 0.5))`
    rows. Values that aren't negative are expected.
    """
    for axis, spacing in enumerate(spacing_mm):
        n = image.shape[axis]
        m = max(1, int(np.floor(n * spacing / pixel_mm + 0.5)))
        pixels, shares = _cubic_taps(np.clip((np.arange(m) + 0.5) * pixel_mm / spacing - 0.5, 0, n - 1), n)
        shares = shares[:, :, None] if axis == 0 else shares[:, None, :]
        image = sum(image.take(pixel, axis) * share for pixel, share in zip(pixels, shares))
    return np.maximum(image, 0).astype(np.float32)


def sample(volume: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The signal of `[slice, row, column]` at places in voxels, `[3, ...]`: cubic in the plane, linear between slices.

    Not below 0; 0 more than half a voxel outside. The daemon's `resample_onto` does the same.
    """
    last = np.array(volume.shape) - 1
    inside = np.all([(x >= -0.5) & (x <= n + 0.5) for x, n in zip(at, last)], axis=0)
    along, *in_plane = (np.clip(x, 0, n) for x, n in zip(at, last))
    (rows, row_shares), (columns, column_shares) = (_cubic_taps(x, n + 1) for x, n in zip(in_plane, last[1:]))
    low = along.astype(np.int64)

    def in_slice(k: np.ndarray) -> np.ndarray:
        lines = (sum(volume[k, r, c] * b for c, b in zip(columns, column_shares)) for r in rows)
        return sum(line * a for line, a in zip(lines, row_shares))

    lower, upper = in_slice(low), in_slice(np.minimum(low + 1, last[0]))
    value = lower + (upper - lower) * (along - low).astype(np.float32)
    return np.where(inside, np.maximum(value, 0), 0).astype(np.float32)


def _cubic_taps(at: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The four of `n` pixels around each place and their shares, `[4, ...]`.

    Beyond its border a picture goes on as straight as it ends.
    """
    low = np.minimum(at.astype(np.int64), max(n - 2, 0))
    f = (at - low).astype(np.float32)
    a, b, c, d = ((2 - f) * f - 1) * f / 2, (1.5 * f - 2.5) * f * f + 1, ((2 - 1.5 * f) * f + 0.5) * f, (f - 1) * f * f / 2
    first, last = low == 0, low + 2 > n - 1
    a, b, c = np.where(first, 0, a), np.where(first, b + 2 * a, b), np.where(first, c - a, c)
    b, c, d = np.where(last, b - d, b), np.where(last, c + 2 * d, c), np.where(last, 0, d)
    pixels = np.stack([low - 1, low, low + 1, low + 2]).clip(0, n - 1)
    return pixels, np.stack([a, b, c, d]).astype(np.float32)


def pad(image: np.ndarray, multiple: int) -> np.ndarray:
    """Zeros at the bottom and on the right of the last two axes."""
    bottom, right = (-n % multiple for n in image.shape[-2:])
    return np.pad(image, [(0, 0)] * (image.ndim - 2) + [(0, bottom), (0, right)])


def local(slice_: np.ndarray, pixel_mm: float = 1.0) -> np.ndarray:
    """Network 1's normalisation: signal over its own surroundings, 0 to 3."""
    slice_ = slice_.astype(np.float32)
    around = gaussian_filter(slice_, LOCAL_SIGMA_MM / pixel_mm, mode="nearest", truncate=3.0)
    return np.clip(slice_ / (around + LOCAL_FLOOR * slice_.mean() + 1e-6), 0, CLIP)


def marrow(volume: np.ndarray, bodies: np.ndarray) -> np.ndarray:
    """Network 2's normalisation: signal over normal marrow of the same patient, 0 to 3.

    `volume` is `[slice, row, column]`; `bodies` marks vertebral bodies eroded by
    2 mm. The log of marrow signal is a quadratic in row and column and, where
    there are several slices, linear in the slice; Cauchy weights keep lesions out.
    """
    return np.clip(volume / marrow_field(volume, bodies), 0, CLIP).astype(np.float32)


def marrow_field(volume: np.ndarray, bodies: np.ndarray) -> np.ndarray:
    """The reference signal of marrow at every voxel, same shape as `volume`."""
    where = np.argwhere(bodies & (volume > 0))
    if len(where) < 6:
        raise ValueError(f"marrow field: {len(where)} body voxels are too few")
    first, last = where.min(0), where.max(0)
    terms = _terms(where, first, last)
    log_signal = np.log(volume[tuple(where.T)].astype(np.float64))
    fit = np.zeros(terms.shape[1])
    fit[0] = np.median(log_signal)
    for _ in range(FIT_ROUNDS):
        residual = log_signal - terms @ fit
        scale = CAUCHY_SCALE * max(1.4826 * np.median(np.abs(residual)), LEAST_SPREAD)
        weight = 1 / (1 + (residual / scale) ** 2)
        normal = terms.T @ (weight[:, None] * terms)
        normal[range(3, 6), range(3, 6)] += RIDGE * weight.sum()
        fit = np.linalg.solve(normal, terms.T @ (weight * log_signal))
    everywhere = np.indices(volume.shape).reshape(3, -1).T
    return np.exp(np.clip(_terms(everywhere, first, last) @ fit, -20, 20)).reshape(volume.shape)


def _terms(index: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """1, y, x, y2, xy, x2 (and the slice, if there are several), each scaled to [-1, 1]."""
    scaled = 2 * (index - first) / np.maximum(last - first, 1) - 1
    z, y, x = scaled.T
    columns = [np.ones(len(index)), y, x, y * y, x * y, x * x]
    return np.stack(columns + ([z] if last[0] > first[0] else []), axis=1)

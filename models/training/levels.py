"""Bodies and disc levels on one labelled slice, counted up from the sacrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_opening, distance_transform_edt, label

from .anatomy import S1, VERTEBRA

SMALLEST_BODY_MM2 = 200.0
DEEPEST_MM = 14.0  # of an endplate's region into the body


@dataclass(frozen=True)
class Levels:
    """`disc[row, column]`: 1 at both endplates of L5/S1, 2 at L4/L5, ...; `depth`: mm from that endplate."""

    bodies: int
    disc: np.ndarray
    depth: np.ndarray


def find(labels: np.ndarray, spacing: tuple[float, float]) -> Levels | None:
    """None where S1 isn't seen: then nothing can be counted."""
    pixel = spacing[0] * spacing[1]
    sacrum = _parts(labels == S1, pixel, SMALLEST_BODY_MM2 / 2)
    if not sacrum:
        return None
    s1 = max(sacrum, key=np.count_nonzero)
    bodies = [b for b in _parts(labels == VERTEBRA, pixel, SMALLEST_BODY_MM2) if _row(b) < _row(s1)]
    stack = [s1] + sorted(bodies, key=_row, reverse=True)
    far = [distance_transform_edt(~b, spacing) for b in stack]
    disc = np.zeros(labels.shape, np.uint8)
    depth = np.full(labels.shape, np.inf, np.float32)
    for k in range(1, len(stack)):
        for body, other, next_ in ((k - 1, k, k - 2), (k, k - 1, k + 1)):
            here = stack[body].copy()
            if 0 <= next_ < len(stack):
                here &= far[other] <= far[next_]
            if not here.any():
                continue
            inward = far[other] - _plate_distance(far[other], here)
            here &= (inward < DEEPEST_MM) & (inward < depth)
            disc[here], depth[here] = k, np.maximum(inward, 0)[here]
    return Levels(len(stack), disc, depth)


def _plate_distance(distance: np.ndarray, body: np.ndarray) -> np.ndarray:
    """For every column the distance at which the body begins, so that wedged discs count from their own plate."""
    first = np.where(body, distance, np.inf).min(0)
    known = np.isfinite(first)
    columns = np.arange(len(first))
    return np.interp(columns, columns[known], first[known])[None, :]


def _parts(mask: np.ndarray, pixel_mm2: float, smallest_mm2: float) -> list[np.ndarray]:
    parts, count = label(binary_opening(mask, iterations=2))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    return [parts == i for i in range(1, count + 1) if sizes[i] * pixel_mm2 >= smallest_mm2]


def _row(mask: np.ndarray) -> float:
    return float(np.flatnonzero(mask.any(1)).mean())

"""Turns SPIDER's T2-SPACE masks into network 1's classes.

SPIDER marks vertebrae with their posterior elements and doesn't mark S1. Bodies
are what lies in front of the canal; S1 is a quadrilateral below the lowest disc,
its core labelled, its uncertain rim and the S1/S2 border ignored.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, label

from .spider import SPACE_CANAL, SPACE_DISC, SPACE_VERTEBRA, SpaceSlice

BACKGROUND, VERTEBRA, S1, DISC, CANAL = range(5)
CLASSES = ("background", "vertebra", "s1", "disc", "canal")
IGNORE = 255

S1_SURE_MM = 20.0  # of height surely inside S1
S1_BELOW_MM = 36.0  # surely below it
S1_ANTERIOR_TAPER, S1_POSTERIOR_TAPER = 0.35, 0.10  # mm inwards per mm down
S1_RIM_MM = 3.0


def classes_of(slices: list[SpaceSlice]) -> list[np.ndarray]:
    """Network 1's labels (with `IGNORE`) for all slices of one patient."""
    edge = _canal_front([s.mask for s in slices])
    return [_classes_of_slice(s.mask, edge, s.spacing) for s in slices]


def _classes_of_slice(mask: np.ndarray, canal_front: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    columns = np.arange(mask.shape[1])[None, :]
    body = (mask == SPACE_VERTEBRA) & (columns < canal_front[:, None])
    out = np.zeros(mask.shape, np.uint8)
    out[body], out[mask == SPACE_DISC], out[mask == SPACE_CANAL] = VERTEBRA, DISC, CANAL
    unsure, core = _s1(mask == SPACE_DISC, spacing)
    out[unsure & (out == BACKGROUND)] = IGNORE
    out[core & ((out == BACKGROUND) | (out == IGNORE))] = S1
    return out


def _canal_front(masks: list[np.ndarray]) -> np.ndarray:
    """The canal's anterior column for every row, over all slices of a patient."""
    rows = masks[0].shape[0]
    found = np.full((len(masks), rows), np.nan)
    for i, mask in enumerate(masks):
        canal = mask == SPACE_CANAL
        has = canal.any(1)
        found[i, has] = canal.argmax(1)[has]
    known = np.flatnonzero(~np.isnan(found).all(0))
    return np.interp(np.arange(rows), known, np.nanmedian(found[:, known], axis=0))


def _s1(disc: np.ndarray, spacing: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """(everything that may be sacrum, what surely is S1) below the lowest disc."""
    parts, count = label(disc)
    sizes = np.bincount(parts.ravel())[1:]
    big = [i + 1 for i in range(count) if sizes[i] * spacing[0] * spacing[1] > 60]
    if not big:
        return np.zeros_like(disc), np.zeros_like(disc)
    lowest = max(big, key=lambda i: np.argwhere(parts == i)[:, 0].mean())
    points = np.argwhere(parts == lowest) * spacing
    centre = points.mean(0)
    along = np.linalg.svd(points - centre, full_matrices=False)[2][0]
    along = along if along[1] > 0 else -along  # front -> back
    down = np.array([along[1], -along[0]])  # feet-ward normal
    u, v = (points - centre) @ along, (points - centre) @ down
    front, back = np.percentile(u, [2, 98])
    bins = np.linspace(front, back, 13)
    lower = [v[(u >= a) & (u < b)].max(initial=0) for a, b in zip(bins, bins[1:])]
    slope, offset = np.polyfit((bins[:-1] + bins[1:]) / 2, lower, 1)

    at = np.moveaxis(np.indices(disc.shape), 0, -1) * spacing - centre
    u, v = at @ along, at @ down
    depth = v - (slope * u + offset)
    inside = np.minimum(u - front - S1_ANTERIOR_TAPER * depth, back - S1_POSTERIOR_TAPER * depth - u)
    unsure = (inside > -2 * S1_RIM_MM) & (depth > -2) & (depth < S1_BELOW_MM)
    core = (inside > S1_RIM_MM) & (depth > -2) & (depth < S1_SURE_MM)
    near_disc = distance_transform_edt(~disc, spacing) < 1.0
    return unsure & ~near_disc, core

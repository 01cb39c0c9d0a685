"""Turns SPIDER's masks into network 1's classes.

SPIDER marks vertebrae with their posterior elements and doesn't mark S1. Bodies
are what lies in front of the canal; S1 is a quadrilateral below the lowest disc,
its core labelled, its uncertain rim and the S1/S2 border ignored. Bodies above the
topmost marked one may be in the picture all the same: rows up there are ignored.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, label

BACKGROUND, VERTEBRA, S1, DISC, CANAL = range(5)
CLASSES = ("background", "vertebra", "s1", "disc", "canal")
IGNORE = 255  # in masks too: nobody knows what lies there

# SPIDER's labels: vertebrae from L5 (1) up, those cut by the field of view 100 higher, the canal, discs above 200.
LAST_VERTEBRA, PARTIAL, MASK_CANAL, MASK_DISC = 25, 100, 100, 200

S1_SURE_MM = 20.0  # of height surely inside S1
S1_BELOW_MM = 36.0  # surely below it
S1_ANTERIOR_TAPER, S1_POSTERIOR_TAPER = 0.35, 0.10  # mm inwards per mm down
S1_RIM_MM = 3.0
CANAL_MM = 4.0  # of width in a row; less is a scrap
CANAL_STEADY_MM = 20.0  # over which its front is smooth


def classes_of(mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Network 1's classes of a mask `[slice, row, column]` in SPIDER's labels, `IGNORE` where unknown."""
    front = _canal_front(mask == MASK_CANAL, spacing)
    return np.stack([_classes_of_slice(one, front, spacing) for one in mask])


def exact_classes(mask: np.ndarray, bodies: np.ndarray) -> np.ndarray:
    """The same where bodies are known apart: 1 is S1, 2 is L5, ..."""
    out = np.full(mask.shape, BACKGROUND, np.uint8)
    out[mask == MASK_CANAL], out[_is_disc(mask)] = CANAL, DISC
    out[bodies == 1], out[bodies > 1], out[bodies == IGNORE] = S1, VERTEBRA, IGNORE
    return out


def majority(stack: np.ndarray) -> np.ndarray:
    """Labels of a slab: the class most of its slices agree on, `IGNORE` where each says another."""
    votes = {cls: (stack == cls).sum(0) for cls in np.unique(stack)}
    best = np.stack(list(votes.values())).argmax(0)
    most = np.stack(list(votes.values())).max(0)
    return np.where(2 * most > len(stack), np.array(list(votes))[best], IGNORE).astype(np.uint8)


def dice(guess, truth, known) -> float:
    """Of masks where the truth is known; arrays or tensors."""
    a, b = guess & known, truth & known
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def _is_disc(mask: np.ndarray) -> np.ndarray:
    return (mask > MASK_DISC) & (mask <= MASK_DISC + LAST_VERTEBRA)


def _classes_of_slice(mask: np.ndarray, canal_front: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    whole = np.where((mask > PARTIAL) & (mask != IGNORE), mask - PARTIAL, mask)
    in_front = np.arange(mask.shape[1])[None, :] < canal_front[:, None]
    out = np.zeros(mask.shape, np.uint8)
    out[(whole > 0) & (whole <= LAST_VERTEBRA) & in_front] = VERTEBRA
    out[_is_disc(mask)], out[mask == MASK_CANAL], out[mask == IGNORE] = DISC, CANAL, IGNORE
    unsure, core = _s1(_is_disc(mask), spacing)
    out[unsure & (out == BACKGROUND)] = IGNORE
    out[core & ((out == BACKGROUND) | (out == IGNORE))] = S1
    marked = np.flatnonzero(np.isin(out, (VERTEBRA, DISC)).any(1))
    above = out[: marked[0] if len(marked) else 0]
    above[above == BACKGROUND] = IGNORE
    return out


def _canal_front(canal: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """The canal's anterior column for every row, over all slices of a patient; a scrap that stands out isn't it."""
    wide = canal.sum(2) * spacing[1] >= CANAL_MM
    found = np.where(wide, canal.argmax(2), np.nan)
    known = np.flatnonzero(~np.isnan(found).all(0))
    rows = np.arange(canal.shape[1])
    if not len(known):
        return np.full(len(rows), np.inf)
    fronts = np.nanmedian(found[:, known], axis=0)
    reach = round(CANAL_STEADY_MM / 2 / spacing[0])
    steady = [np.median(fronts[max(0, k - reach) : k + reach + 1]) for k in range(len(known))]
    return np.interp(rows, known, steady)


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

"""How T2 lies against T1, as `daemon/src/volume/register.rs` tells it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation

REACH_MM = 6.0
LEAST_MM, LEAST_GAIN = 2.0, 1.1  # less is no move of the patient: chemical shift alone looks like that
NEAR_MM = 8.0  # of the bodies: belly and bowel move with every breath


def moved_mm(t1: np.ndarray, t2: np.ndarray, bodies: np.ndarray, spacing: tuple[float, float]) -> tuple[float, float]:
    """How far T2 `[slice, row, column]`, on T1's grid, lies too low and too far back; 0 where the patient lay still."""
    off, gain = edge_shift(t1, t2, bodies, spacing)
    return tuple(off) if np.hypot(*off) >= LEAST_MM and gain >= LEAST_GAIN else (0.0, 0.0)


def edge_shift(t1: np.ndarray, t2: np.ndarray, bodies: np.ndarray, spacing: tuple[float, float]) -> tuple[np.ndarray, float]:
    """How far T2's edges lie too far down and back, mm, and how many times better they fit where they should.

    Normalised gradient fields (Haber and Modersitzki 2007); whole pixels are tried, a parabola tells the rest.
    """
    y, x = np.ogrid[tuple(slice(-int(NEAR_MM / s), int(NEAR_MM / s) + 1) for s in spacing)]
    ball = (y * spacing[0]) ** 2 + (x * spacing[1]) ** 2 <= NEAR_MM**2
    near = binary_dilation(bodies, ball[None])
    fixed = [p * near for p in _orientations(t1, spacing)]
    moving = _orientations(t2, spacing)
    reach = [round(REACH_MM / s) for s in spacing]

    def score(by: tuple[int, int]) -> float:
        back = [np.roll(p, (-by[0], -by[1]), (1, 2)) for p in moving]
        return float(sum(weight * (a * b).sum() for weight, a, b in zip((1, 2, 1), fixed, back)))

    tried = {(r, c): score((r, c)) for r in range(-reach[0], reach[0] + 1) for c in range(-reach[1], reach[1] + 1)}
    best = max(tried, key=tried.get)
    top = [_top(*(tried.get((best[0] + k * down, best[1] + k * back)) for k in (-1, 0, 1))) for down, back in ((1, 0), (0, 1))]
    return (np.array(best) + top) * spacing, tried[best] / max(tried[0, 0], 1e-12)


def _top(before: float | None, at: float, after: float | None) -> float:
    """How far the top of the parabola through three values lies from the middle one."""
    if before is None or after is None or before + after >= 2 * at:
        return 0.0
    return float(np.clip(0.5 * (before - after) / (before - 2 * at + after), -0.5, 0.5))


def _orientations(volume: np.ndarray, spacing: tuple[float, float]) -> list[np.ndarray]:
    """Products xx, xy, yy of the normalised in-plane gradient."""
    y, x = (np.gradient(volume.astype(np.float32), s, axis=k) for k, s in ((1, spacing[0]), (2, spacing[1])))
    noise = np.hypot(x, y).mean((1, 2), keepdims=True)
    norm = x * x + y * y + noise**2 + 1e-12
    return [x * x / norm, x * y / norm, y * y / norm]

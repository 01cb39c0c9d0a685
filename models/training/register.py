"""Has the patient moved between T1 and T2? As `daemon/src/volume/register.rs` tells it and moves T2 back."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, shift

REACH_MM = 6.0
LEAST_MM, LEAST_GAIN = 2.0, 1.1  # less is no move: chemical shift alone looks like that
NEAR_MM = 8.0  # of the bodies: belly and bowel move with every breath


def aligned(t1: np.ndarray, t2: np.ndarray, bodies: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """T2 `[slice, row, column]` on T1's grid, the patient where they lay during T1."""
    moved = moved_mm(t1, t2, bodies, spacing)
    return shift(t2, (0, *(-m / s for m, s in zip(moved, spacing))), order=1) if moved.any() else t2


def moved_mm(t1: np.ndarray, t2: np.ndarray, bodies: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """How far T2 lies too far down and back; 0 where the patient lay still.

    Normalised gradient fields (Haber and Modersitzki 2007), in whole pixels.
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

    tried = [(r, c) for r in range(-reach[0], reach[0] + 1) for c in range(-reach[1], reach[1] + 1)]
    best = max(tried, key=score)
    moved = np.array(best) * spacing
    clear = np.hypot(*moved) >= LEAST_MM and score(best) >= LEAST_GAIN * score((0, 0))
    return moved if clear else np.zeros(2)


def _orientations(volume: np.ndarray, spacing: tuple[float, float]) -> list[np.ndarray]:
    """Products xx, xy, yy of the normalised in-plane gradient."""
    y, x = (np.gradient(volume.astype(np.float32), s, axis=k) for k, s in ((1, spacing[0]), (2, spacing[1])))
    noise = np.hypot(x, y).mean((1, 2), keepdims=True)
    norm = x * x + y * y + noise**2 + 1e-12
    return [x * x / norm, x * y / norm, y * y / norm]

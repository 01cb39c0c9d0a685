"""Modic changes, and what resembles them, simulated inside real marrow.

A lesion scales the marrow ratios r1 and r2 smoothly, so the real texture stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from .levels import Levels

# type: (r1 range, r2 range)
RATIOS = {1: ((0.45, 0.72), (1.3, 2.0)), 2: ((1.3, 1.9), (1.05, 1.6)), 3: ((0.2, 0.65), (0.2, 0.65))}
SHARE = (0.4, 0.4, 0.2)  # of types 1, 2, 3
MIXED = 0.2  # of lesions have two types


@dataclass
class Canvas:
    """Ratios `[2, row, column]` and the truth being painted; `pixel_mm` is isotropic."""

    ratios: np.ndarray
    truth: np.ndarray
    pixel_mm: float


def add_modic(rng: np.random.Generator, canvas: Canvas, levels: Levels, disc: int) -> None:
    """At one or both endplates of a disc: an irregular cap that touches the endplate."""
    rows = np.argwhere(levels.disc == disc)
    if len(rows) < 60:
        return
    middle = rows[:, 0].mean()
    row = np.arange(canvas.truth.shape[0])[:, None]
    sides = ((row < middle), (row >= middle))
    chosen = sides if rng.random() < 0.6 else (sides[rng.integers(2)],)
    kind = int(rng.choice((1, 2, 3), p=SHARE))
    for side in chosen:
        _paint(rng, canvas, _cap(rng, levels, disc, side, canvas.pixel_mm), kind)


def _cap(rng: np.random.Generator, levels: Levels, disc: int, side: np.ndarray, pixel_mm: float) -> np.ndarray:
    here = (levels.disc == disc) & side
    columns = np.flatnonzero(here.any(0))
    if len(columns) < 8:
        return np.zeros(here.shape, bool)
    u = (np.arange(here.shape[1]) - rng.uniform(columns[0], columns[-1])) * pixel_mm
    half = rng.uniform(4, 18)
    deepest = rng.uniform(3, 13)
    wave = gaussian_filter(rng.normal(0, 1, here.shape[1]), 3.0 / pixel_mm, mode="wrap")
    wave *= 0.25 / (wave.std() + 1e-6)
    profile = deepest * np.sqrt(np.clip(1 - (u / half) ** 2, 0, 1)) * (1 + wave)
    ragged = levels.depth + _noise(rng, here.shape, 2.0 / pixel_mm) * rng.uniform(0, 1.5)
    return here & (ragged < profile[None, :])


def _paint(rng: np.random.Generator, canvas: Canvas, mask: np.ndarray, kind: int) -> None:
    if mask.sum() * canvas.pixel_mm**2 < 12:
        return
    soft = np.clip(gaussian_filter(mask.astype(np.float32), rng.uniform(0.4, 1.2) / canvas.pixel_mm), 0, 1)
    parts = [(kind, np.ones(mask.shape, np.float32))]
    if rng.random() < MIXED:
        other = int(rng.choice([k for k in RATIOS if k != kind]))
        share = 1 / (1 + np.exp(-3 * _noise(rng, mask.shape, 5 / canvas.pixel_mm)))
        parts = [(kind, share), (other, 1 - share)]
    for channel in (0, 1):
        factor = sum(share * rng.uniform(*RATIOS[k][channel]) for k, share in parts)
        factor = factor * (1 + 0.08 * _noise(rng, mask.shape, 3 / canvas.pixel_mm))
        canvas.ratios[channel] *= 1 + soft * (factor - 1)
    canvas.truth[mask] = 1


def add_haemangioma(rng: np.random.Generator, canvas: Canvas, levels: Levels) -> None:
    """Bright on both, round, away from the endplates: not a Modic change."""
    inner = np.argwhere((levels.depth > 8) & np.isfinite(levels.depth))
    if len(inner) == 0:
        return
    _disc_blob(rng, canvas, inner, rng.uniform(2.0, 5.0), rng.uniform(1.3, 2.0), rng.uniform(1.2, 1.9))


def add_schmorl(rng: np.random.Generator, canvas: Canvas, levels: Levels) -> None:
    """Disc signal in a small dent of the endplate: not a Modic change by itself."""
    plate = np.argwhere(levels.depth < 1.5)
    if len(plate):
        _disc_blob(rng, canvas, plate, rng.uniform(1.5, 3.5), rng.uniform(0.35, 0.65), rng.uniform(0.25, 1.0))


def mottle(rng: np.random.Generator, canvas: Canvas) -> None:
    """Marrow that is patchy without being ill: up to 12 % in patches of 3 to 8 mm."""
    size = rng.uniform(3, 8) / canvas.pixel_mm / 2
    patches, amount = _noise(rng, canvas.truth.shape, size), rng.uniform(0, 0.12)
    canvas.ratios[0] *= 1 + amount * patches
    canvas.ratios[1] *= 1 + amount * rng.uniform(0, 1) * patches


def _disc_blob(rng: np.random.Generator, canvas: Canvas, candidates: np.ndarray, radius: float, r1: float, r2: float) -> None:
    centre = candidates[rng.integers(len(candidates))]
    at = (np.moveaxis(np.indices(canvas.truth.shape), 0, -1) - centre) * canvas.pixel_mm
    distance = np.hypot(at[..., 0] * rng.uniform(0.8, 1.25), at[..., 1])
    soft = 1 / (1 + np.exp((distance + 0.5 * _noise(rng, canvas.truth.shape, 3) - radius) / 0.4))
    if (canvas.truth[soft > 0.3]).any():
        return
    canvas.ratios[0] *= 1 + soft * (r1 - 1)
    canvas.ratios[1] *= 1 + soft * (r2 - 1)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    field = gaussian_filter(rng.normal(0, 1, shape).astype(np.float32), sigma, mode="wrap")
    return field / (field.std() + 1e-6)

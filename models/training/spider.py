"""Reads the SPIDER renderings: T1/T2 pairs, disc gradings, T2-SPACE slices with masks.

Promises slices as uint8 `[row head->feet, column front->back]` with their spacing.
"""

from __future__ import annotations

import ast
import csv
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

SPACE_DISC, SPACE_VERTEBRA, SPACE_CANAL = 29, 76, 150
UPSIDE_DOWN = Path(__file__).with_name("upside_down.txt").read_text().split()  # pictures that lie feet up


@dataclass(frozen=True)
class Pair:
    """The mid-sagittal T1 and T2 of one patient."""

    patient: str
    t1_path: Path
    t2_path: Path
    t1_spacing: tuple[float, float]
    t2_spacing: tuple[float, float]
    same_matrix: bool
    modic: tuple[int, ...]  # per disc, counted up from L5/S1

    @cached_property
    def t1(self) -> np.ndarray:
        return _upright(self.t1_path)

    @cached_property
    def t2(self) -> np.ndarray:
        return _upright(self.t2_path)


@dataclass(frozen=True)
class SpaceSlice:
    """One T2-SPACE slice and its mask, in SPIDER's rendering."""

    patient: str
    image: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, float]


def pairs(root: Path) -> list[Pair]:
    with (root / "pairs.csv").open() as file:
        return [
            Pair(
                row["patient"],
                root / "pairs" / row["t1"],
                root / "pairs" / row["t2"],
                _spacing(row["t1_spacing"]),
                _spacing(row["t2_spacing"]),
                row["same_matrix"] == "True",
                tuple(int(g) for g in row["modic_per_disc_from_L5S1"].split()),
            )
            for row in csv.DictReader(file)
        ]


def space(root: Path) -> dict[str, list[SpaceSlice]]:
    """Every patient's slices from left to right."""
    with (root / "series.csv").open() as file:
        spacing = {row["new_file_name"]: row["PixelSpacing"] for row in csv.DictReader(file)}
    patients: dict[str, list[SpaceSlice]] = defaultdict(list)
    for path in sorted((root / "space" / "masks").glob("*.png")):
        series, _ = path.stem.rsplit("_slice", 1)
        image = _grey(root / "space" / "images" / path.name)
        patients[series.split("_")[0]].append(
            SpaceSlice(series.split("_")[0], image, _grey(path), _spacing(spacing[series]))
        )
    return patients


def _upright(path: Path) -> np.ndarray:
    image = _grey(path)
    return image[::-1].copy() if path.name in UPSIDE_DOWN else image


def _grey(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L"))


def _spacing(text: str) -> tuple[float, float]:
    rows, columns = ast.literal_eval(text)
    return float(rows), float(columns)

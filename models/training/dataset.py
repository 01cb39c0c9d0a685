"""Reads labelled exams in the layout of the SPIDER data set, phantoms and sites' own likewise.

The layout is described in `daemon/src/dataset/mod.rs`. Volumes come as `[slice right->left, row head->feet,
column front->back]`, whatever order a file is stored in; T2 and all maps come on T1's grid.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from . import splits
from .anatomy import BACKGROUND, CANAL, DISC, IGNORE, S1, VERTEBRA, classes_of_mask

AXES = "PIL"  # where SimpleITK's first, second and third axis point: columns, rows, slices


@dataclass(frozen=True)
class Volume:
    data: np.ndarray
    spacing: tuple[float, float]  # row, column, in mm
    slice_mm: float


@dataclass(frozen=True)
class Case:
    root: Path
    patient: str

    @cached_property
    def t1(self) -> Volume:
        return _volume(self._t1)

    @cached_property
    def t2(self) -> Volume:
        moving = _read(self._path("images", "t2"))
        return _volume(sitk.Resample(moving, self._t1, sitk.Transform(), sitk.sitkLinear, 0.0))

    @cached_property
    def classes(self) -> np.ndarray | None:
        """Network 1's classes on T1, `IGNORE` where unknown; None where T1 has no mask."""
        mask, bodies = self._map("masks", "t1"), self._map("bodies", "t1")
        return None if mask is None else _exact(mask, bodies) if bodies is not None else classes_of_mask(mask, self.t1.spacing)

    @cached_property
    def modic(self) -> np.ndarray | None:
        """0 none, else the type of the change; None where it isn't known voxel by voxel."""
        return self._map("modic", "t1")

    @cached_property
    def space(self) -> tuple[Volume, np.ndarray] | None:
        """T2-SPACE and network 1's classes on it."""
        path = self._path("masks", "t2_SPACE")
        if not path.exists():
            return None
        volume, mask = _volume(_read(self._path("images", "t2_SPACE"))), _volume(_read(path)).data
        return volume, classes_of_mask(mask.astype(np.uint8), volume.spacing)

    @cached_property
    def grades(self) -> tuple[int, ...]:
        """Modic grade of each disc from L5-S1 up; empty where they weren't graded."""
        rows = {int(r["IVD label"]): int(float(r["Modic"] or 0)) for r in _gradings(self.root).get(self.patient, [])}
        return tuple(rows.get(k, 0) for k in range(1, max(rows, default=0) + 1))

    @cached_property
    def _t1(self) -> sitk.Image:
        return _read(self._path("images", "t1"))

    def _path(self, folder: str, series: str) -> Path:
        return self.root / folder / f"{self.patient}_{series}.mha"

    def _map(self, folder: str, series: str) -> np.ndarray | None:
        path = self._path(folder, series)
        if not path.exists():
            return None
        onto = sitk.Resample(_read(path), self._t1, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
        return _volume(onto).data.astype(np.uint8)


def cases(root: Path, split: str | None = None) -> list[Case]:
    """Those with T1 and T2, or with T2-SPACE and its mask; of one split, or all."""
    images = root / "images"
    named = {p.name.removesuffix("_t1.mha") for p in images.glob("*_t1.mha")}
    found = {p for p in named if (images / f"{p}_t2.mha").exists()}
    found |= {p.name.removesuffix("_t2_SPACE.mha") for p in images.glob("*_t2_SPACE.mha")}
    if not found:
        raise FileNotFoundError(f"{images} has no pair PATIENT_t1.mha, PATIENT_t2.mha")
    of = splits.read(root, found)
    ordered = sorted(found, key=lambda p: (int(p) if p.isdigit() else 10**12, p))
    return [Case(root, p) for p in ordered if split is None or of[p] == split]


def _exact(mask: np.ndarray, bodies: np.ndarray) -> np.ndarray:
    out = np.full(mask.shape, BACKGROUND, np.uint8)
    out[mask == 100], out[mask > 200] = CANAL, DISC
    out[bodies == 1], out[bodies > 1], out[bodies == IGNORE] = S1, VERTEBRA, IGNORE
    return out


def _gradings(root: Path) -> dict[str, list[dict[str, str]]]:
    path, rows = root / "radiological_gradings.csv", {}
    if path.exists():
        with path.open() as file:
            for row in csv.DictReader(file):
                rows.setdefault(row["Patient"], []).append(row)
    return rows


def _read(path: Path) -> sitk.Image:
    return sitk.DICOMOrient(sitk.ReadImage(str(path)), AXES)


def _volume(image: sitk.Image) -> Volume:
    column, row, slice_mm = image.GetSpacing()
    return Volume(sitk.GetArrayFromImage(image), (row, column), slice_mm)

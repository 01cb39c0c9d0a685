"""Reads labelled exams in the layout of the SPIDER data set, phantoms and sites' own likewise.

The layout is described in `daemon/src/dataset/mod.rs`; training adds `labels/{patient}_t1.mha`, what network 1 sees.
Volumes come as `[slice right->left, row head->feet, column front->back]`, whatever order a file is stored in; T2 and all
maps come on T1's grid.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from . import preprocess, splits
from .anatomy import classes_of, exact_classes

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
        return self.t2_moved_back((0.0, 0.0))

    def t2_moved_back(self, mm: tuple[float, float]) -> Volume:
        """T2 on T1's grid as the daemon lays it there, from its own pixels, where it lies so far too low and too far back."""
        t2 = _read(self.path("images", "t2"))
        signal, to_index = sitk.GetArrayFromImage(t2).astype(np.float32), np.linalg.inv(_steps(t2))
        onto, start = to_index @ _steps(self._t1), to_index @ np.subtract(self._t1.GetOrigin(), t2.GetOrigin())
        columns, rows, slices = self._t1.GetSize()
        down, back = np.divide(mm, self.t1.spacing)
        row, column = np.mgrid[:rows, :columns]

        def slice_(k: int) -> np.ndarray:
            voxels = np.stack([column + back, row + down, np.full(row.shape, k)])
            return preprocess.sample(signal, (np.tensordot(onto, voxels, 1) + start[:, None, None])[::-1])

        return Volume(np.stack([slice_(k) for k in range(slices)]), self.t1.spacing, self.t1.slice_mm)

    @property
    def paired(self) -> bool:
        return self.path("images", "t1").exists() and self.path("images", "t2").exists()

    @cached_property
    def truth(self) -> np.ndarray | None:
        """Network 1's classes on T1 by its mask, `IGNORE` where unknown; None where T1 has no mask."""
        mask, bodies = self._map("masks"), self._map("bodies")
        if mask is None:
            return None
        return classes_of(mask, self.t1.spacing) if bodies is None else exact_classes(mask, bodies)

    @cached_property
    def classes(self) -> np.ndarray | None:
        """`truth`, or where there is none network 1's own opinion (see `training.pseudo`)."""
        return self.truth if self.truth is not None else self._map("labels")

    @cached_property
    def modic(self) -> np.ndarray | None:
        """0 none, else the type of the change; None where it isn't known voxel by voxel."""
        return self._map("modic")

    @cached_property
    def space(self) -> tuple[Volume, np.ndarray] | None:
        """T2-SPACE and its mask in SPIDER's labels."""
        path = self.path("masks", "t2_SPACE")
        if not path.exists():
            return None
        return _volume(_read(self.path("images", "t2_SPACE"))), _volume(_read(path)).data.astype(np.uint8)

    @cached_property
    def grades(self) -> tuple[int | None, ...]:
        """Modic grade of each disc from L5-S1 up, None where one wasn't graded; empty where none was."""
        rows = {int(r["IVD label"]): r["Modic"].strip() for r in _gradings(self.root).get(self.patient, [])}
        if not any(rows.values()):
            return ()
        return tuple(int(float(rows[k])) if rows.get(k) else None for k in range(1, max(rows) + 1))

    @cached_property
    def _t1(self) -> sitk.Image:
        return _read(self.path("images", "t1"))

    def path(self, folder: str, series: str) -> Path:
        return self.root / folder / f"{self.patient}_{series}.mha"

    def _map(self, folder: str) -> np.ndarray | None:
        path = self.path(folder, "t1")
        if not path.exists():
            return None
        onto = sitk.Resample(_read(path), self._t1, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
        return _volume(onto).data.astype(np.uint8)

    def write(self, folder: str, labels: np.ndarray) -> None:
        """Adds a map on T1's grid, such as `masks` or `labels`, to the data set."""
        image = sitk.GetImageFromArray(labels.astype(np.uint8))
        image.CopyInformation(self._t1)
        self.path(folder, "t1").parent.mkdir(exist_ok=True)
        sitk.WriteImage(image, str(self.path(folder, "t1")), useCompression=True)


def cases(roots: list[Path], split: str | None = None) -> list[Case]:
    """Those of some data sets that have T1 and T2, or T2-SPACE with its mask; of one split, or all."""
    return [case for root in roots for case in _cases(root, split)]


def pairs(roots: list[Path], split: str | None = None) -> list[Case]:
    """Those of them that have T1 and T2."""
    return [case for case in cases(roots, split) if case.paired]


def _cases(root: Path, split: str | None) -> list[Case]:
    names = [p.name.removesuffix(".mha").split("_", 1) for p in (root / "images").glob("*_*.mha")]
    found = {patient for patient, series in names if series in ("t1", "t2_SPACE")}
    of = splits.read(root, found)
    chosen = [Case(root, p) for p in sorted(found, key=lambda p: (len(p), p)) if split in (None, of[p])]
    if not any(case.paired or case.space for case in chosen):
        raise FileNotFoundError(f"{root / 'images'} has no pair PATIENT_t1.mha, PATIENT_t2.mha of split {split}")
    return chosen


def _gradings(root: Path) -> dict[str, list[dict[str, str]]]:
    path, rows = root / "radiological_gradings.csv", {}
    if path.exists():
        with path.open() as file:
            for row in csv.DictReader(file):
                rows.setdefault(row["Patient"], []).append(row)
    return rows


def _read(path: Path) -> sitk.Image:
    return sitk.DICOMOrient(sitk.ReadImage(str(path)), AXES)


def _steps(image: sitk.Image) -> np.ndarray:
    """What a column, a row and a slice further on is in mm: the columns of a matrix."""
    return np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()


def _volume(image: sitk.Image) -> Volume:
    column, row, slice_mm = image.GetSpacing()
    return Volume(sitk.GetArrayFromImage(image), (row, column), slice_mm)

"""Reads the phantoms that `modicd phantom` writes, with their exact truth.

Volumes come as `[slice, row head->feet, column front->back]`, whatever the
NIfTI's own axes are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

AXES = ("L", "I", "P")  # slices right -> left, rows to the feet, columns to the back


@dataclass(frozen=True)
class Volume:
    data: np.ndarray
    spacing: tuple[float, float]  # row, column, in mm
    slice_mm: float


@dataclass(frozen=True)
class Case:
    root: Path
    seed: str

    @cached_property
    def t1(self) -> Volume:
        return _read(self.root / "images" / f"{self.seed}_t1.nii.gz")

    @cached_property
    def t2(self) -> Volume:
        return _read(self.root / "images" / f"{self.seed}_t2.nii.gz")

    @cached_property
    def tissue(self) -> np.ndarray:
        """0 background, 1 vertebral body, 2 S1 body, 3 disc, 4 canal: network 1's classes."""
        return _read(self.root / "masks" / f"{self.seed}_tissue.nii.gz").data.astype(np.uint8)

    @cached_property
    def modic(self) -> np.ndarray:
        return _read(self.root / "masks" / f"{self.seed}_modic.nii.gz").data.astype(np.uint8)


def cases(root: Path) -> list[Case]:
    return [Case(root, p.name.split("_")[0]) for p in sorted((root / "images").glob("*_t1.nii.gz"))]


def split_of(seed: str) -> str:
    """Of every ten seeds, eight train, one validates, one tests."""
    return {8: "val", 9: "test"}.get(int("".join(filter(str.isdigit, seed))) % 10, "train")


def lesions(root: Path) -> dict:
    return json.loads((root / "lesions.json").read_text())


def _read(path: Path) -> Volume:
    image = nibabel.load(path)
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(AXES))
    zooms = np.empty(3)
    zooms[turn[:, 0].astype(int)] = image.header.get_zooms()[:3]
    data = apply_orientation(np.asarray(image.dataobj), turn)
    return Volume(data, (float(zooms[1]), float(zooms[2])), float(zooms[0]))

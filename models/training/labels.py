"""The file that carries network 1's labels of real T1 slices between runs."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path


def write(path: Path, found: list[dict]) -> None:
    """Each entry holds the fields of `vertebrae.Sample`."""
    with gzip.open(path, "wb", compresslevel=3) as file:
        pickle.dump(found, file)


def read(path: Path) -> list[dict]:
    with gzip.open(path, "rb") as file:
        return pickle.load(file)

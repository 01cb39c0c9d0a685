"""Which patient serves which purpose: a data set's `splits.csv`, or where it has none a seeded hash.

Test patients are never trained, tuned or calibrated on.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

SEED = "modic-2026"
TRAIN, VAL = 60, 12  # per cent; the rest is test
FILE = "splits.csv"


def split_of(patient: str) -> str:
    """`train`, `val` or `test`."""
    digest = hashlib.sha256(f"{SEED}/{patient}".encode()).digest()
    percent = int.from_bytes(digest[:4], "big") % 100
    return "train" if percent < TRAIN else "val" if percent < TRAIN + VAL else "test"


def read(root: Path, patients: set[str]) -> dict[str, str]:
    """Of a data set's patients; its table is written where there is none."""
    if not (root / FILE).exists():
        write(root, patients)
    with (root / FILE).open() as file:
        of = {row["patient"]: row["split"] for row in csv.DictReader(file)}
    if missing := sorted(patients - of.keys()):
        raise ValueError(f"{root / FILE} says nothing of patient {missing[0]}: add a line for each patient, or remove the file")
    return of


def write(root: Path, patients: set[str]) -> None:
    with (root / FILE).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["patient", "split"])
        table.writerows((p, split_of(p)) for p in sorted(patients, key=lambda p: (len(p), p)))

"""Which patient serves which purpose: fixed by a seeded hash over all sets.

Test patients are never trained, tuned or calibrated on.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

SEED = "modic-2026"
TRAIN, VAL = 60, 12  # per cent; the rest is test
FILE = Path(__file__).with_name("splits.csv")


def split_of(patient: str) -> str:
    """`train`, `val` or `test`."""
    digest = hashlib.sha256(f"{SEED}/{patient}".encode()).digest()
    percent = int.from_bytes(digest[:4], "big") % 100
    return "train" if percent < TRAIN else "val" if percent < TRAIN + VAL else "test"


def write(patients: set[str]) -> None:
    """Writes `splits.csv`, for readers and for the acceptance tests."""
    with FILE.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["patient", "split"])
        table.writerows((p, split_of(p)) for p in sorted(patients, key=int))

"""`python -m training.renderings`: public 8-bit PNG renderings of SPIDER become a data set in SPIDER's own layout.

The renderings hold the mid-sagittal T1 and T2 of each patient, and every second T2-SPACE slice of some with its
mask. Only picture, spacing and labels are real; the place in the patient is made up: pictures are centred.

Half of the mid-sagittal pictures have another matrix than the series, often not square, and are as stretched as that:
bodies' proportions follow rows / columns with a slope of 1.0 (log-log). The field of view was square, and where a T2-SPACE
volume can be laid over a picture it fits that. `field_of_view.csv` holds its side: the series' spacing times the columns
that most pictures of that manufacturer and spacing have; for patients 142 and 162 as T2-SPACE and the bodies' size say.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image
from scipy.ndimage import label as connected

from . import splits

GREY = {"disc": 29, "vertebra": 76, "canal": 150}  # of the renderings' masks
CANAL, DISC = 100, 200  # SPIDER's labels: the canal, and what is added to a disc's number
SMALLEST_DISC = 40  # pixels
SLICE_MM = 4.0  # where the table says nothing
DISCS = Path(__file__).with_name("discs.csv")  # where test patients' discs lie on T1, LPS mm, each looked at
FIELD_OF_VIEW = Path(__file__).with_name("field_of_view.csv")
UPSIDE_DOWN = Path(__file__).with_name("upside_down.txt").read_text().split()  # pictures that lie feet up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the renderings: pairs/, space/, their tables")
    parser.add_argument("out", type=Path, help="the data set that is written")
    args = parser.parse_args()
    convert(args.data, args.out)


def convert(data: Path, out: Path) -> None:
    for folder in ("images", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    series = {row["new_file_name"]: row for row in _table(data / "series.csv")}
    sides = {row["patient"]: float(row["side_mm"]) for row in _table(FIELD_OF_VIEW)}
    for pair in _table(data / "pairs.csv"):
        side_mm = sides[pair["patient"]]
        for weighting in ("t1", "t2"):
            name = pair[weighting]
            picture = _grey(data / "pairs" / name)
            picture = picture[::-1] if name in UPSIDE_DOWN else picture
            rows, columns = picture.shape
            path = out / "images" / f"{pair['patient']}_{weighting}.mha"
            _write(path, picture[None], (side_mm / rows, side_mm / columns), SLICE_MM)
    slices = defaultdict(list)
    for path in sorted((data / "space" / "masks").glob("*.png")):
        slices[path.stem.rsplit("_slice", 1)[0]].append(path.name)
    for name, files in slices.items():
        spacing = _numbers(series[name]["PixelSpacing"])
        apart = 2 * float(series[name]["SpacingBetweenSlices"] or series[name]["SliceThickness"])
        for folder, turn in (("images", np.asarray), ("masks", labels_of)):
            stack = turn(np.stack([_grey(data / "space" / folder / f) for f in files]))
            _write(out / folder / f"{name}.mha", stack, spacing, apart)
    for table in (data / "radiological_gradings.csv", DISCS):
        shutil.copy(table, out)
    splits.write(out, {p.name.split("_")[0] for p in (out / "images").glob("*.mha")})


def labels_of(grey: np.ndarray) -> np.ndarray:
    """SPIDER's labels: discs numbered from the lowest up, each vertebra by the disc it lies on."""
    discs, count = connected(grey == GREY["disc"])
    rows = np.arange(grey.shape[1])[None, :, None]
    middles = [(rows * (discs == i)).sum() / n for i in range(1, count + 1) if (n := (discs == i).sum()) > SMALLEST_DISC]
    bounds = np.sort(middles)[::-1]  # from the lowest up
    nearest = 1 + np.abs(rows - bounds[:, None, None, None]).argmin(0)
    above = np.maximum(1, (rows < bounds[:, None, None, None]).sum(0))
    out = np.zeros(grey.shape, np.uint8)
    out[grey == GREY["canal"]] = CANAL
    for source, number in (("disc", DISC + nearest), ("vertebra", above)):
        here = grey == GREY[source]
        out[here] = np.broadcast_to(number, grey.shape)[here]
    return out


def _write(path: Path, data: np.ndarray, spacing: tuple[float, float], slice_mm: float) -> None:
    """`data[slice, row, column]`, its middle at the origin."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(data))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))  # columns to the back, rows to the feet, slices to the left
    image.SetSpacing((spacing[1], spacing[0], slice_mm))
    half = [(n - 1) / 2 * mm for n, mm in zip(data.shape, (slice_mm, *spacing))]
    image.SetOrigin((-half[0], -half[2], half[1]))
    sitk.WriteImage(image, str(path), useCompression=True)


def _grey(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L"))


def _table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def _numbers(text: str) -> tuple[float, float]:
    rows, columns = text.strip("[]").split(",")
    return float(rows), float(columns)


if __name__ == "__main__":
    main()

"""`python -m training.smoke`: the whole chain in a few minutes, on phantoms alone.

Says that the code works, nothing about accuracy: its bundles go to the work folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import export, tasks, train, unrounded

STEPS = "12"
SLICES = "8"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="a data set of phantoms")
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    common = ["--data", args.data]
    for task in tasks.NAMES:
        words = [task, *common, "--work", str(args.work), "--steps", STEPS]
        plain = train.train(train.parse(words))
        rounded = train.train(train.parse([*words, "--quantized", "--init", str(plain)]))
        for checkpoint in (plain, rounded):
            words = [task, *common, "--checkpoint", str(checkpoint), "--version", "0.0.0", "--calibration", SLICES]
            folder = export.export(export.parse([*words, "--bundles", str(args.work / "bundles")]))
            sizes = {p.name: p.stat().st_size for p in sorted(folder.iterdir())}
            assert {"network.onnx", "golden.bin", "manifest.toml"} <= sizes.keys(), sizes
            print(f"{task}: {sizes}")
    unrounded.write(args.work / "bundles", args.work / "unrounded")


if __name__ == "__main__":
    main()

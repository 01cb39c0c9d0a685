"""`python -m training.unrounded BUNDLES OUT`: int8 bundles as floats, for `modicd evaluate --bundles BUNDLES --against OUT`.

They have the weights of the int8 ones; what is left out is the rounding of all values between. A bundle's float form as
it was trained is beside its checkpoint, see `export`.
"""

from __future__ import annotations

import argparse
import re
import struct
from pathlib import Path

import numpy as np

from . import onnx_file
from .export import FORMS, golden_case, sha256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    write(args.bundles, args.out)


def write(bundles: Path, out: Path) -> None:
    for manifest in sorted(bundles.glob("*/manifest.toml")):
        folder = out / manifest.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        network, golden = folder / "network.onnx", folder / "golden.bin"
        onnx_file.write_float(onnx_file.read(manifest.with_name("network.onnx")), network)
        golden.write_bytes(golden_case(network, input_in(manifest.with_name("golden.bin"))))
        values = {"sha256": sha256(network), "golden_sha256": sha256(golden), "format": FORMS["f32"]}
        text = manifest.read_text()
        for key, value in values.items():
            text = re.sub(rf'^{key} = ".*"$', f'{key} = "{value}"', text, flags=re.MULTILINE)
        (folder / "manifest.toml").write_text(text)
        print(folder)


def input_in(golden: Path) -> np.ndarray:
    """`[1, channels, height, width]`, as `export.golden_case` wrote it."""
    data = golden.read_bytes()
    shape = struct.unpack_from("<3I", data)
    return np.frombuffer(data, "<f4", int(np.prod(shape)), offset=12).reshape(1, *shape)


if __name__ == "__main__":
    main()

"""`python -m training.export vertebrae|modic`: a checkpoint becomes a bundle.

A bundle holds `network.onnx` (int8), `golden.bin` and `manifest.toml`; the
daemon refuses it when a digest or the golden case doesn't fit. The float form, too large
to ship, becomes a bundle beside the checkpoint, for `modicd evaluate --against`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from . import anatomy, dataset, equalize, evaluate, modic, onnx_file, preprocess, tasks, vertebrae, weights
from .quantized import QuantizedUNet

GOLDEN = 128  # pixels a side
GOLDEN_PHANTOMS = 20  # of which the one with the largest change is taken
FORMS = {"f32": "float32", "int8": "int8 QDQ, u8 activations, s8 weights per channel"}
SOURCES = (
    "SPIDER (van der Graaf et al., Scientific Data 2024), CC BY 4.0, by way of 8-bit PNG renderings",
    "phantoms with exact truth from `modicd phantom`",
)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=tasks.NAMES)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="data sets; the golden case comes from a phantom")
    parser.add_argument("--version", required=True, help="of the bundle, such as 0.4.0")
    parser.add_argument("--calibration", type=int, default=48, help="training slices on which ranges are sought")
    parser.add_argument("--bundles", type=Path, default=Path(__file__).parents[1] / "bundles")
    return parser.parse_args(words)


def export(args: argparse.Namespace) -> Path:
    """Writes the bundle; returns its folder."""
    torch.set_num_threads(1)
    folders = {"f32": args.checkpoint.parent / "float" / args.task, "int8": args.bundles / args.task}
    networks = {form: folder / "network.onnx" for form, folder in folders.items()}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    net = weights.load(args.checkpoint)
    slices = calibration(args)
    if isinstance(net, QuantizedUNet):
        ranges = net.quantization()
    else:
        net = equalize.equalized(net, slices)
        ranges = equalize.quantization(net, slices)
    onnx_file.write_float(net, networks["f32"])
    onnx_file.write_int8(networks["f32"], networks["int8"], slices, ranges)
    sessions = {form: onnx_file.session(network) for form, network in networks.items()}
    threshold, figures = measure(args, {k: lambda x, s=s: onnx_file.run(s, x) for k, s in sessions.items()})
    for form, network in networks.items():
        golden = network.with_name("golden.bin")
        golden.write_bytes(golden_case(network, golden_input(args)))
        network.with_name("manifest.toml").write_text(manifest(args, form, network, golden, threshold, figures))
    print(json.dumps({"threshold": threshold, **figures}, indent=1))
    return folders["int8"]


def inputs_of(task: str, sample: vertebrae.Sample | modic.Sample) -> np.ndarray:
    """A whole slice as the daemon prepares it, `[1, channels, h, w]`."""
    if task == "vertebrae":
        return vertebrae.prepare(sample.images[sample.around()], sample.spacing)
    return preprocess.pad(sample.ratios.astype(np.float32), 16)[None]


def calibration(args: argparse.Namespace) -> list[np.ndarray]:
    """Training slices, as many of each source but T2-SPACE, which isn't what network 1 will see.

    For network 2 those with a change: without one its logits stay low, and the
    range found would cut probabilities off at a half.
    """
    module = {"vertebrae": vertebrae, "modic": modic}[args.task]
    found = module.samples("train", args.data)
    found = [s for s in found if s.source != "space"] or found
    if args.task == "modic":
        found = [s for s in found if (s.target == 1).any()] or found
    sources = sorted({s.source for s in found})
    random, chosen = np.random.default_rng(5), []
    for source in sources:
        these = [s for s in found if s.source == source]
        count = min(args.calibration // len(sources), len(these))
        chosen += [these[i] for i in random.choice(len(these), count, replace=False)]
    return [inputs_of(args.task, s) for s in chosen]


def golden_input(args: argparse.Namespace) -> np.ndarray:
    """Of a phantom, since no real picture goes into the project: around S1, or around the largest change."""
    phantoms = (c for c in dataset.pairs(args.data) if c.modic is not None)
    if args.task == "vertebrae":
        case, k = next((c, len(c.truth) // 2) for c in phantoms if (c.truth[len(c.truth) // 2] == anatomy.S1).any())
        whole = vertebrae.prepare(case.t1.data[vertebrae.neighbours(k, len(case.t1.data))], case.t1.spacing)
        middle = np.argwhere(case.truth[k] == anatomy.S1).mean(0) * case.t1.spacing / vertebrae.PIXEL_MM
    else:
        found = [s for case in islice(phantoms, GOLDEN_PHANTOMS) for s in modic.samples_of(case)]
        sample = max(found, key=lambda s: int((s.target == 1).sum()))
        whole = inputs_of("modic", sample)
        middle = np.argwhere(sample.target == 1).mean(0)
    top, left = (int(np.clip(m - GOLDEN // 2, 0, max(0, n - GOLDEN))) for m, n in zip(middle, whole.shape[-2:]))
    part = whole[..., top : top + GOLDEN, left : left + GOLDEN]
    return np.ascontiguousarray(preprocess.pad(part[0], GOLDEN)[None])


def golden_case(network: Path, x: np.ndarray) -> bytes:
    """u32 channels, height, width; f32 input; u32 classes; f32 logits; little-endian."""
    logits = onnx_file.run(onnx_file.session(network, optimise=False), x)
    said = (logits[0] > 0) if len(logits) == 1 else logits.argmax(0)
    if len(np.unique(said)) < max(2, len(logits)):
        print(f"the daemon will refuse {network}: its golden case doesn't show every class", file=sys.stderr)
    shape = struct.pack("<3I", *x.shape[1:])
    return shape + x.astype("<f4").tobytes() + struct.pack("<I", len(logits)) + logits.astype("<f4").tobytes()


def measure(args: argparse.Namespace, runs: dict[str, evaluate.Network]) -> tuple[float, dict[str, float]]:
    """Network 2's threshold, and figures of both forms on validation and test."""
    figures: dict[str, float] = {}
    threshold = 0.5
    for split in ("val", "test"):
        if args.task == "vertebrae":
            found = vertebrae.samples(split, args.data)
            graded = [c for c in dataset.pairs(args.data, split) if c.grades and c.modic is None]
            measured = {k: evaluate.vertebrae_figures(r, found) for k, r in runs.items()}
            if graded:
                measured = {k: m | evaluate.level_figures(runs[k], graded) for k, m in measured.items()}
        else:
            found = modic.samples(split, args.data)
            crops = modic.held_out_crops(found)
            if split == "val":
                threshold = evaluate.best_threshold(runs["int8"], found, crops)
            measured = {
                k: evaluate.modic_figures(r, found, crops, threshold) | evaluate.lesion_figures(r, found, threshold)
                for k, r in runs.items()
            }
        figures |= {f"{split}_{name}_{k}": round(v, 4) for k, m in measured.items() for name, v in m.items()}
    return threshold, figures


def manifest(
    args: argparse.Namespace, form: str, network: Path, golden: Path, threshold: float, figures: dict[str, float]
) -> str:
    first = args.task == "vertebrae"
    classes = list(anatomy.CLASSES) if first else ["modic"]
    settings = args.checkpoint.with_name("record.json")
    record = json.loads(settings.read_text()) if settings.exists() else {}
    run = record.get("settings", {})
    lines = [
        f'name = "{args.task}"',
        f'version = "{args.version}"',
        f'sha256 = "{sha256(network)}"',
        f'golden_sha256 = "{sha256(golden)}"',
        "\n[input]",
        f"channels = {json.dumps(vertebrae.CHANNELS if first else modic.CHANNELS)}",
        f"pixel_mm = {vertebrae.PIXEL_MM if first else modic.PIXEL_MM}",
        "size_multiple = 16",
        f'normalisation = "{"local" if first else "marrow"}"',
        "\n[output]",
        f"classes = {json.dumps(classes)}",
        *([] if first else [f"threshold = {threshold}"]),
        "\n[quantization]",
        f'format = "{FORMS[form]}"',
        "\n[training]",
        f"data = {json.dumps(SOURCES)}",
        'licence = "SPIDER: CC BY 4.0"',
        f'date = "{time.strftime("%Y-%m-%d")}"',
        f'split = "by patient, seeded hash (training/splits.py): train 60 %, val 12 %, test 28 %"',
        f"seed = {run.get('seed', 0)}",
        f"minutes = {round(record.get('seconds', 0) / 60, 1)}",
        "\n[figures]",
        *(f"{key} = {value if value == value else 'nan'}" for key, value in figures.items()),
    ]
    return "\n".join(lines) + "\n"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    export(parse())

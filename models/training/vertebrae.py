"""Network 1's task: vertebral bodies, S1, discs and canal on one T1 slice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from . import anatomy, augment, dataset, preprocess

PIXEL_MM = 1.0
CROP = (224, 160)
WEIGHTS = {"space": 0.8, "phantom": 1.2, "pseudo": 1.0, "mask": 0.8}
LEAST_S1_MM = 8.0  # of S1's height within a cut picture; less could be any body


@dataclass(frozen=True)
class Sample:
    """One labelled slice at its own spacing; `remap` if its contrast is not T1's."""

    source: str
    patient: str
    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float]
    remap: bool


def samples(split: str, roots: list[Path]) -> list[Sample]:
    """Everything there is of one split: T2-SPACE (slices, and slabs of them), labelled T1."""
    found: list[Sample] = []
    for case in dataset.cases(roots, split):
        if case.space:
            volume, mask = case.space
            classes = anatomy.classes_of(mask, volume.spacing)
            found += [Sample("space", case.patient, i, c, volume.spacing, True) for i, c in zip(volume.data, classes)]
            for k in range(1, len(mask) - 1) if split == "train" else ():
                thick = volume.data[k - 1 : k + 2].mean(0).astype(np.uint8)
                label = anatomy.majority(classes[k - 1 : k + 2])
                found.append(Sample("space", case.patient, thick, label, volume.spacing, True))
        if case.paired and case.classes is not None and (split == "train" or case.truth is not None):
            source = "pseudo" if case.truth is None else "mask" if case.modic is None else "phantom"
            for image, label in zip(case.t1.data, case.classes):
                found.append(Sample(source, case.patient, _bytes(image), label, case.t1.spacing, False))
    return found


class Crops(torch.utils.data.IterableDataset):
    """Endless augmented crops `(input [1, h, w], label [h, w])`, sources by weight."""

    def __init__(self, found: list[Sample], seed: int, weights: dict[str, float]) -> None:
        self.by_source = {name: [s for s in found if s.source == name] for name in weights}
        self.by_source = {name: s for name, s in self.by_source.items() if s}
        total = sum(weights[name] for name in self.by_source)
        self.share = [weights[name] / total for name in self.by_source]
        self.seed = seed

    def __iter__(self):
        if torch.utils.data.get_worker_info():
            torch.set_num_threads(1)
        rng = np.random.default_rng(self.seed)
        groups = list(self.by_source.values())
        while True:
            group = groups[rng.choice(len(groups), p=self.share)]
            yield crop(rng, group[rng.integers(len(group))])


def crop(rng: np.random.Generator, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    where = np.argwhere((sample.label > 0) & (sample.label != anatomy.IGNORE))
    middle = where.mean(0) if len(where) else np.array(sample.label.shape) / 2
    view = augment.random_view(rng, CROP, PIXEL_MM, tuple(middle * sample.spacing), turned=0.35)
    image = view.take(sample.image, sample.spacing)
    label = view.take(sample.label, sample.spacing, nearest=True).round().astype(np.uint8)
    kind = rng.random()
    if kind < 0.2:
        image = augment.recontrast(rng, image, label)
    elif kind < (0.85 if sample.remap else 0.3):
        image = augment.remap_classes(rng, image, label)
    image = augment.degrade(rng, image * augment.shade(rng, CROP, 0.35 * rng.random()), low_field=0.15)
    if rng.random() < 0.3:
        return shortened(rng, image, label)
    return preprocess.local(image, PIXEL_MM)[None], label.astype(np.int64)


def shortened(rng: np.random.Generator, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A crop whose picture ends early, as the daemon would give it: zeros beyond, nothing to be seen there."""
    keep = augment.cut(rng, label, PIXEL_MM)
    seen = np.zeros(image.shape, np.float32)
    seen[keep] = preprocess.local(image[keep], PIXEL_MM)
    truth = np.zeros(label.shape, np.int64)
    truth[keep] = label[keep]
    sacrum = np.flatnonzero((truth == anatomy.S1).any(1))
    if len(sacrum) and (keep[0].stop - sacrum[0]) * PIXEL_MM < LEAST_S1_MM:
        truth[truth == anatomy.S1] = anatomy.IGNORE
    return seen[None], truth


def loss(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over the classes, ignored pixels left out."""
    classes = logits.shape[1]
    known = label != anatomy.IGNORE
    entropy = cross_entropy(logits, label, ignore_index=anatomy.IGNORE)
    truth = one_hot(label.where(known, 0), classes).movedim(-1, 1) * known[:, None]
    guess = logits.softmax(1) * known[:, None]
    dims = (0, 2, 3)
    dice = (2 * (guess * truth).sum(dims) + 100) / (guess.sum(dims) + truth.sum(dims) + 100)
    return entropy + 1 - dice[1:].mean()


def prepare(image: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """A whole slice as the daemon gives it to the network: `[1, 1, h, w]`."""
    return preprocess.pad(preprocess.local(preprocess.resample(image, spacing, PIXEL_MM), PIXEL_MM), 16)[None, None]


def _bytes(image: np.ndarray) -> np.ndarray:
    """8 bit like the real renderings: memory stays small and clipping is learned."""
    return np.clip(image * (255 / max(np.percentile(image, 99.5), 1e-6)), 0, 255).astype(np.uint8)


def held_out_crops(found: list[Sample], per_source: int = 24) -> dict[str, tuple[Tensor, Tensor]]:
    """A fixed set of augmented crops for each source, for validation while training."""
    out = {}
    for name in sorted({s.source for s in found}):
        crops = Crops([s for s in found if s.source == name], seed=7, weights={name: 1.0})
        drawn = [pair for pair, _ in zip(crops, range(per_source))]
        out[name] = tuple(torch.from_numpy(np.stack(x)) for x in zip(*drawn))
    return out


@torch.inference_mode()
def validate(net: torch.nn.Module, held_out: dict[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Dice of every class on each source's fixed crops."""
    out: dict[str, float] = {}
    for source, (inputs, label) in held_out.items():
        guess = torch.cat([net(x).argmax(1) for x in inputs.split(8)])
        for cls in range(1, len(anatomy.CLASSES)):
            out[f"{source}_{anatomy.CLASSES[cls]}"] = dice(guess, label, cls)
    return out


def dice(guess: Tensor, label: Tensor, cls: int) -> float:
    known = label != anatomy.IGNORE
    a, b = (guess == cls) & known, (label == cls) & known
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))

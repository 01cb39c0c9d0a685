"""Network 1's task: vertebral bodies, S1, discs and canal on T1.

It sees a slice between its two neighbours, and marks the middle one: towards the sides a slice holds body and soft tissue in
one voxel, and where the body ends is shown only beside the next slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from . import anatomy, augment, dataset, preprocess

CHANNELS = ("t1-1", "t1", "t1+1")
PIXEL_MM = 1.0
CROP = (224, 160)
WEIGHTS = {"space": 0.8, "phantom": 1.2, "pseudo": 1.0, "mask": 0.8}
APART_MM = (2.0, 6.5)  # between neighbours, as in T1 stacks
ALONE = 0.3  # of crops have no neighbours, as where one slice is all there is
LEAST_S1_MM = 8.0  # of S1's height within a cut picture; less could be any body


@dataclass(frozen=True)
class Sample:
    """One labelled slice of a stack, or of a volume, at its own spacing; `remap` if its contrast is not T1's."""

    source: str
    patient: str
    images: np.ndarray  # [slice, row, column], as are the labels
    labels: np.ndarray
    index: int
    spacing: tuple[float, float]
    slice_mm: float
    remap: bool

    @property
    def label(self) -> np.ndarray:
        return self.labels[self.index]

    def around(self, apart_mm: float = np.mean(APART_MM)) -> list[int]:
        """The indices of the slice before, of the slice itself and of the one after it; in a volume about so far apart."""
        step = max(1, round(apart_mm / self.slice_mm)) if self.source == "space" else 1
        return neighbours(self.index, len(self.images), step)


def neighbours(index: int, count: int, step: int = 1) -> list[int]:
    """Of slice `index` with those beside it; at either end of the stack it stands in for its missing neighbour."""
    return [k if 0 <= k < count else index for k in (index - step, index, index + step)]


def samples(split: str, roots: list[Path]) -> list[Sample]:
    """Everything there is of one split: T2-SPACE (slices, and slabs of them), labelled T1."""
    found: list[Sample] = []
    for case in dataset.cases(roots, split):
        if case.space:
            volume, mask = case.space
            classes = anatomy.classes_of(mask, volume.spacing)
            found += _stack("space", case.patient, volume, volume.data, classes, True)
            if split == "train" and len(mask) > 2:
                slabs = [slice(k - 1, k + 2) for k in range(1, len(mask) - 1)]
                thick = np.stack([volume.data[slab].mean(0).astype(np.uint8) for slab in slabs])
                labels = np.stack([anatomy.majority(classes[slab]) for slab in slabs])
                found += _stack("space", case.patient, volume, thick, labels, True)
        if case.paired and case.classes is not None and (split == "train" or case.truth is not None):
            source = "pseudo" if case.truth is None else "mask" if case.modic is None else "phantom"
            images = np.stack([_bytes(image) for image in case.t1.data])
            found += _stack(source, case.patient, case.t1, images, case.classes, False)
    return found


def _stack(
    source: str, patient: str, of: dataset.Volume, images: np.ndarray, labels: np.ndarray, remap: bool
) -> list[Sample]:
    return [Sample(source, patient, images, labels, k, of.spacing, of.slice_mm, remap) for k in range(len(images))]


class Crops(torch.utils.data.IterableDataset):
    """Endless augmented crops `(input [3, h, w], label [h, w])`, sources by weight."""

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
    alone = rng.random() < ALONE
    around = [sample.index] * 3 if alone else sample.around(rng.uniform(*APART_MM))[:: rng.choice((1, -1))]
    seen, channels = np.unique(around, return_inverse=True)  # a slice that stands in for another has the same noise
    image = view.take(sample.images[seen], sample.spacing)
    label = view.take(sample.labels[seen], sample.spacing, nearest=True).round().astype(np.uint8)
    labelled = (sample.labels[seen] != anatomy.IGNORE).any((1, 2)).all()  # else the contrast alone would tell the middle one
    kind = rng.random() if labelled else 1.0
    if kind < 0.2:
        image = augment.recontrast(rng, image, label)
    elif kind < (0.85 if sample.remap else 0.3):
        image = augment.remap_classes(rng, image, label)
    image = augment.degrade(rng, image * augment.shade(rng, CROP, 0.35 * rng.random()), low_field=0.15)
    label = label[channels[1]]
    image, label = shortened(rng, image, label) if rng.random() < 0.3 else (local(image), label.astype(np.int64))
    return image[channels], label


def local(images: np.ndarray) -> np.ndarray:
    """`preprocess.local` of every slice."""
    return np.stack([preprocess.local(one, PIXEL_MM) for one in images])


def shortened(rng: np.random.Generator, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A crop whose picture ends early, as the daemon would give it: zeros beyond, nothing to be seen there."""
    keep = augment.cut(rng, label, PIXEL_MM)
    seen = np.zeros(image.shape, np.float32)
    seen[:, *keep] = local(image[:, *keep])
    truth = np.zeros(label.shape, np.int64)
    truth[keep] = label[keep]
    sacrum = np.flatnonzero((truth == anatomy.S1).any(1))
    if len(sacrum) and (keep[0].stop - sacrum[0]) * PIXEL_MM < LEAST_S1_MM:
        truth[truth == anatomy.S1] = anatomy.IGNORE
    return seen, truth


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


def prepare(images: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Whole slices in the order of `CHANNELS` as the daemon gives them to the network: `[1, 3, h, w]`."""
    return preprocess.pad(local(np.stack([preprocess.resample(one, spacing, PIXEL_MM) for one in images])), 16)[None]


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
            out[f"{source}_{anatomy.CLASSES[cls]}"] = anatomy.dice(guess == cls, label == cls, label != anatomy.IGNORE)
    return out

"""Network 2's task: Modic changes from the marrow ratios r1 (T1) and r2 (T2).

It sees a slice between its two neighbours, and marks the middle one: slices are
4 mm thick, and what a change's border is shows only beside the next slice.

Four teachers: phantoms with exact truth, lesions simulated in real marrow, real
discs graded 0 (nothing may be found), real discs graded as changed (bright marrow
at their endplates is taken as the change; where none stands out, something must be
found somewhere: a multiple-instance term).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_erosion, gaussian_filter, label
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from . import anatomy, augment, dataset, lesions, levels, preprocess, register
from .anatomy import IGNORE, S1, VERTEBRA

PIXEL_MM = 0.75
CROP = (160, 160)
ERODE_MM = 2.0
MARGIN_MM = 20.0  # around the bodies of a volume: all that network 2 is ever shown
WEIGHTS = {"real": 1.0, "phantom": 2.0}
BAG_TOP = 20  # pixels whose mean probability is a bag's
BAG_WEIGHT = 0.1
CHANNELS = ("t1-1", "t1", "t1+1", "t2-1", "t2", "t2+1")
MIDDLE = (1, 4)  # of them: the slice that is marked
RARE = 3.0  # times as often as others come slices with sclerosis or two types: few, and the hardest
ALONE = 0.15  # of phantom crops have no neighbours, as where one slice is all there is
DICE_FLOOR = 20.0  # pixels

Network = Callable[[np.ndarray], np.ndarray]  # [1, c, h, w] -> logits [classes, h, w]


@dataclass(frozen=True)
class Sample:
    """One slice at 0.75 mm. `ratios` holds `CHANNELS`; `target` is 0, 1 or `IGNORE`; `disc` and `depth` are `levels.Levels`'."""

    source: str
    patient: str
    ratios: np.ndarray
    target: np.ndarray
    disc: np.ndarray
    depth: np.ndarray
    clean: tuple[int, ...] = ()  # discs where a lesion may be painted
    bags: tuple[int, ...] = ()  # discs with a change somewhere
    grades: tuple[int | None, ...] = ()
    slice_mm: float = 0.0  # of phantoms: distance between slices
    weight: float = 1.0  # how often it is drawn, against others of its source


def samples(split: str, roots: list[Path]) -> list[Sample]:
    with ProcessPoolExecutor() as pool:
        return [s for of_case in pool.map(samples_of, dataset.pairs(roots, split), chunksize=4) for s in of_case]


def samples_of(case: dataset.Case) -> list[Sample]:
    """Of one exam: by its exact truth, or by its discs' grades; none where it has neither."""
    if case.classes is None or (case.modic is None and not case.grades):
        return []
    t1, t2 = _resampled(case.t1), _resampled(case.t2)
    classes = np.stack([_nearest(s, case.t1.spacing, t1.shape[1:]) for s in case.classes])
    bodies = np.isin(classes, (VERTEBRA, S1))
    if not bodies.any():
        return []
    moved = register.moved_mm(t1, t2, bodies, (PIXEL_MM, PIXEL_MM))
    if any(moved):
        t2 = _resampled(case.t2_moved_back(moved))
    ratios = ratios_of(t1, t2, classes, (PIXEL_MM, PIXEL_MM))
    box = surroundings(bodies.any(0))
    ratios, classes = ratios[(..., *box)], classes[(..., *box)]
    if case.modic is None:
        return graded_samples(case, ratios, classes)
    kinds = np.stack([_nearest(s, case.t1.spacing, t1.shape[1:]) for s in case.modic])[(..., *box)]
    return phantom_samples(case, ratios, classes, kinds)


def ratios_of(t1: np.ndarray, t2: np.ndarray, classes: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """r1 and r2 of a volume `[slice, row, column]`: `[2, slice, row, column]`."""
    bodies = np.stack([eroded(np.isin(one, (VERTEBRA, S1)), spacing) for one in classes])
    return np.stack([preprocess.marrow(t.astype(np.float32), bodies) for t in (t1, t2)])


def between_neighbours(ratios: np.ndarray) -> np.ndarray:
    """`[2, slice, row, column]` as `[slice, 6, row, column]`, in the order of `CHANNELS`.

    At either end of the stack the slice itself stands in for its missing neighbour.
    """
    count = ratios.shape[1]
    around = np.clip(np.arange(count)[:, None] + (-1, 0, 1), 0, count - 1)
    return ratios[:, around].swapaxes(0, 1).reshape(count, len(CHANNELS), *ratios.shape[2:])


def eroded(mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    steps = np.ceil(ERODE_MM / np.array(spacing) - 0.25).astype(int)
    y, x = np.ogrid[-steps[0] : steps[0] + 1, -steps[1] : steps[1] + 1]
    ball = (y * spacing[0]) ** 2 + (x * spacing[1]) ** 2 <= (ERODE_MM + 0.1) ** 2
    return binary_erosion(mask, ball)


def surroundings(bodies: np.ndarray) -> tuple[slice, slice]:
    """The part of a slice that holds all bodies and a margin."""
    margin = round(MARGIN_MM / PIXEL_MM)
    edges = (np.flatnonzero(bodies.any(axis)) for axis in (1, 0))
    return tuple(slice(max(0, at[0] - margin), at[-1] + 1 + margin) for at in edges)


def phantom_samples(case: dataset.Case, ratios: np.ndarray, classes: np.ndarray, kinds: np.ndarray) -> list[Sample]:
    around = between_neighbours(ratios.astype(np.float16))
    found = []
    for k in np.flatnonzero(np.isin(classes, (VERTEBRA, S1)).any((1, 2))):
        seen = levels.find(classes[k], (PIXEL_MM, PIXEL_MM))
        disc, depth = (seen.disc, seen.depth) if seen else _nothing(classes[k].shape)
        target, weight = (kinds[k] > 0).astype(np.uint8), RARE if _rare(kinds[k]) else 1.0
        more = dict(slice_mm=case.t1.slice_mm, weight=weight)
        found.append(_sample("phantom", case.patient, around[k], target, disc, depth, **more))
    return found


def _rare(kinds: np.ndarray) -> bool:
    """Is there sclerosis, or a change of two types?"""
    parts, count = label(kinds > 0)
    return (kinds == 3).any() or any(len(np.unique(kinds[parts == i])) > 1 for i in range(1, count + 1))


def graded_samples(case: dataset.Case, ratios: np.ndarray, classes: np.ndarray) -> list[Sample]:
    """Slices in which S1 is seen: without it nothing can be counted.

    Grades are of whole discs. Discs graded 0 are clean on every slice; on which slice a change lies isn't known, so only
    the middle one must show it. Of a disc that wasn't graded nothing is known.
    """
    around, found = between_neighbours(ratios), []
    for k, one in enumerate(classes):
        seen = levels.find(one, (PIXEL_MM, PIXEL_MM))
        if seen is None:
            continue
        target, bags = _weak_target(ratios[:, k], seen, case.grades)
        clean = tuple(n for n, grade in enumerate(case.grades, 1) if grade == 0)
        more = dict(bags=bags, grades=case.grades) if k == len(classes) // 2 else {}
        found.append(_sample("real", case.patient, around[k], target, seen.disc, seen.depth, clean=clean, **more))
    return found


def _weak_target(ratios: np.ndarray, seen: levels.Levels, grades: tuple[int | None, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    r1, r2 = (gaussian_filter(r, 1.0 / PIXEL_MM) for r in ratios)
    target = np.zeros(r1.shape, np.uint8)
    bags = []
    for k in range(1, seen.bodies):
        region, grade = seen.disc == k, grades[k - 1] if k <= len(grades) else None
        if grade is None:
            target[region] = IGNORE
        elif grade > 0:
            target[region & ((r1 < 0.93) | (r1 > 1.07))] = IGNORE
            bright = _touching(region & (r1 > 1.2) & (r2 > 0.9), seen.depth) if grade == 2 else region & False
            target[bright] = 1
            bags += [] if bright.any() else [k]
    return target, tuple(bags)


def _touching(mask: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """The parts of `mask` of at least 25 mm2 that touch their endplate."""
    parts, count = label(mask)
    out = np.zeros(mask.shape, bool)
    for i in range(1, count + 1):
        part = parts == i
        if part.sum() * PIXEL_MM**2 >= 25 and depth[part].min() < 3:
            out |= part
    return out


class Crops(torch.utils.data.IterableDataset):
    """Endless crops `(input [6, h, w], target [h, w], bag [h, w])`."""

    def __init__(self, found: list[Sample], seed: int, weights: dict[str, float]) -> None:
        self.groups = {name: [s for s in found if s.source == name] for name in weights}
        self.groups = {name: s for name, s in self.groups.items() if s}
        total = sum(weights[name] for name in self.groups)
        self.share = [weights[name] / total for name in self.groups]
        weights_of = (np.array([s.weight for s in group]) for group in self.groups.values())
        self.chances = [w / w.sum() for w in weights_of]
        self.seed = seed

    def __iter__(self):
        if torch.utils.data.get_worker_info():
            torch.set_num_threads(1)
        rng = np.random.default_rng(self.seed)
        groups = list(self.groups.values())
        while True:
            k = rng.choice(len(groups), p=self.share)
            yield crop(rng, groups[k][rng.choice(len(groups[k]), p=self.chances[k])])


def crop(rng: np.random.Generator, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    where = np.argwhere(_one_change(rng, sample.target) if rng.random() < 0.6 else sample.disc > 0)
    middle = where[rng.integers(len(where))] if len(where) else np.array(sample.target.shape) / 2
    spacing = (PIXEL_MM, PIXEL_MM)
    view = augment.random_view(rng, CROP, PIXEL_MM, tuple(middle * PIXEL_MM))
    ratios = view.take(sample.ratios, spacing)
    target, disc = (view.take(x, spacing, nearest=True).round().astype(np.uint8) for x in (sample.target, sample.disc))
    depth = view.take(np.where(sample.disc > 0, sample.depth, 99).astype(np.float32), spacing, nearest=True)

    if sample.source == "real":
        canvas = lesions.Canvas(ratios[list(MIDDLE)], target, PIXEL_MM)
        _simulate(rng, canvas, levels.Levels(0, disc, np.where(disc > 0, depth, np.inf)), sample.clean)
        ratios = _fading(rng, ratios, canvas.ratios)
    elif rng.random() < ALONE:
        ratios = np.repeat(ratios[list(MIDDLE)], 3, axis=0)
    if rng.random() < 0.5:
        ratios = ratios[[2, 1, 0, 5, 4, 3]]
    ratios = _disturb(rng, ratios)
    return ratios.astype(np.float32), target.astype(np.int64), np.where(np.isin(disc, sample.bags), disc, 0).astype(np.int64)


def _one_change(rng: np.random.Generator, target: np.ndarray) -> np.ndarray:
    """One connected change, small ones as often as large ones; everything where there is none."""
    parts, count = label(target == 1)
    return parts == rng.integers(1, count + 1) if count else target != IGNORE


def _fading(rng: np.random.Generator, before: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """A real slice painted, between neighbours in which what was painted may have faded."""
    out = np.empty_like(before)
    for k in range(3):
        share = 1.0 if k == 1 or rng.random() < 0.6 else rng.random()
        for middle, paint in zip(MIDDLE, painted):
            channel = middle - 1 + k
            out[channel] = before[channel] * (1 - share) + paint * share
    return out


def _simulate(rng: np.random.Generator, canvas: lesions.Canvas, seen: levels.Levels, clean: tuple[int, ...]) -> None:
    if rng.random() < 0.3:
        lesions.mottle(rng, canvas)
    for disc in clean:
        if rng.random() < 0.35:
            lesions.add_modic(rng, canvas, seen, disc)
    if rng.random() < 0.25:
        lesions.add_haemangioma(rng, canvas, seen)
    if rng.random() < 0.25:
        lesions.add_schmorl(rng, canvas, seen)


def _disturb(rng: np.random.Generator, ratios: np.ndarray) -> np.ndarray:
    """A biased reference, T1 and T2 a little apart, blur, noise."""
    out = ratios.copy()
    for series in (out[:3], out[3:]):
        series *= augment.shade(rng, series.shape[1:], 0.06 * rng.random()) * np.exp(rng.normal(0, 0.06))
        if rng.random() < 0.4:
            series[:] = gaussian_filter(series, (0, *[rng.uniform(0.3, 1.0)] * 2))
        if rng.random() < 0.5:
            series += rng.normal(0, rng.uniform(0.01, 0.08), series.shape)
    if rng.random() < 0.4:
        out[3:] = np.roll(out[3:], rng.integers(-1, 2, 2), (1, 2))
    return np.clip(out, 0, preprocess.CLIP)


def loss(logits: Tensor, target: Tensor, bag: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice of each crop on known pixels, plus the multiple-instance term."""
    logits = logits[:, 0]
    known = (target != IGNORE).float()
    truth = (target == 1).float()
    entropy = (bce(logits, truth, reduction="none") * known).sum() / known.sum()
    guess = logits.sigmoid() * known
    both, total = (guess * truth).sum((1, 2)), (guess + truth * known).sum((1, 2))
    dice = ((2 * both + DICE_FLOOR) / (total + DICE_FLOOR)).mean()
    bags = [
        logits[i][bag[i] == k].topk(BAG_TOP).values.mean()
        for i in range(len(bag))
        for k in bag[i].unique()
        if k > 0 and (bag[i] == k).sum() > 5 * BAG_TOP
    ]
    some = torch.nn.functional.softplus(-torch.stack(bags)).mean() if bags else 0.0
    return 4 * entropy + 1 - dice + BAG_WEIGHT * some


def disc_score(probability: np.ndarray, disc: np.ndarray, k: int) -> float | None:
    """Mean of the highest `BAG_TOP` probabilities at a disc's endplates; None where it isn't seen."""
    values = probability[disc == k]
    return float(np.sort(values)[-BAG_TOP:].mean()) if len(values) > 5 * BAG_TOP else None


def probability(run: Network, s: Sample) -> np.ndarray:
    """Of Modic change, `[row, column]`."""
    padded = preprocess.pad(s.ratios.astype(np.float32), 16)[None]
    return sigmoid(run(padded))[0, : s.disc.shape[0], : s.disc.shape[1]]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def disc_table(run: Network, found: list[Sample]) -> list[tuple[str, int, int, float]]:
    """(patient, disc, grade, score) for every graded disc of the real samples."""
    rows = []
    for s in found:
        if s.source == "real":
            guess = probability(run, s)
            for k, grade in enumerate(s.grades, 1):
                score = None if grade is None else disc_score(guess, s.disc, k)
                rows += [] if score is None else [(s.patient, k, grade, score)]
    return rows


def held_out_crops(found: list[Sample], per_source: int = 40) -> dict[str, tuple[Tensor, Tensor]]:
    """Fixed crops of each source; every slice is as likely as another, whatever its weight in training."""
    out = {}
    for name in sorted({s.source for s in found}):
        equal = [replace(s, weight=1.0) for s in found if s.source == name]
        drawn = [c[:2] for c, _ in zip(Crops(equal, 7, {name: 1.0}), range(per_source))]
        out[name] = tuple(torch.from_numpy(np.stack(x)) for x in zip(*drawn))
    return out


@torch.inference_mode()
def validate(net: torch.nn.Module, crops: dict[str, tuple[Tensor, Tensor]], found: list[Sample], threshold: float = 0.5) -> dict[str, float]:
    """Dice on each source's fixed crops; how well real discs are told apart."""
    out = {}
    for name, (inputs, target) in crops.items():
        guess = torch.cat([net(x)[:, 0].sigmoid() for x in inputs.split(8)])
        out[f"{name}_dice"] = anatomy.dice(guess > threshold, target == 1, target != IGNORE)
    table = disc_table(lambda x: net(torch.from_numpy(x))[0].numpy(), found)
    if table:
        out["disc_auc"] = auc([r[3] for r in table if r[2] > 0], [r[3] for r in table if r[2] == 0])
    return out


def auc(positive: list[float], negative: list[float]) -> float:
    if not positive or not negative:
        return float("nan")
    p, n = np.array(positive)[:, None], np.array(negative)[None, :]
    return float((p > n).mean() + 0.5 * (p == n).mean())


def _sample(source, patient, ratios, target, disc, depth, **rest) -> Sample:
    return Sample(source, patient, ratios.astype(np.float16), target, disc, depth.astype(np.float16), **rest)


def _nothing(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(shape, np.uint8), np.full(shape, np.inf, np.float32)


def _resampled(volume: dataset.Volume) -> np.ndarray:
    return np.stack([preprocess.resample(one, volume.spacing, PIXEL_MM) for one in volume.data])


def _nearest(mask: np.ndarray, spacing: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    """A mask on `preprocess.resample`'s grid."""
    index = [np.clip((np.arange(m) + 0.5) * PIXEL_MM / s, 0, n - 1).astype(int) for m, s, n in zip(shape, spacing, mask.shape)]
    return mask[np.ix_(*index)]

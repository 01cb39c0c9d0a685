"""Measures a network as the daemon runs it: whole slices, ONNX Runtime, no augmentation."""

from __future__ import annotations

import hashlib

import numpy as np
from scipy.ndimage import binary_opening, label

from . import anatomy, dataset, levels, modic, preprocess, vertebrae
from .modic import Network, probability, sigmoid

LESION_MM3, FINDING_MM3, CONTACT_MM = 100.0, 50.0, 3.0
THRESHOLDS = np.arange(0.2, 0.91, 0.1)


def vertebrae_figures(run: Network, found: list[vertebrae.Sample]) -> dict[str, float]:
    """Dice of every class over all slices of each source, at 1 mm; bodies missed or merged with another."""
    sums: dict[str, np.ndarray] = {}
    for s in found:
        guess, truth = guess_and_truth(run, s)
        known = truth != anatomy.IGNORE
        for cls, name in enumerate(anatomy.CLASSES[1:], 1):
            a, b = (guess == cls) & known, truth == cls
            key = f"{s.source}_dice_{name}"
            sums[key] = sums.get(key, np.zeros(2)) + (2 * (a & b).sum(), a.sum() + b.sum())
        key = f"{s.source}_bodies_wrong"
        sums[key] = sums.get(key, np.zeros(2)) + wrong_bodies(guess, truth)
    counts = {key.replace("wrong", "counted"): float(total) for key, (_, total) in sums.items() if key.endswith("wrong")}
    return {key: float(both / max(total, 1)) for key, (both, total) in sums.items()} | counts


def guess_and_truth(run: Network, s: vertebrae.Sample) -> tuple[np.ndarray, np.ndarray]:
    """Classes of a whole slice at 1 mm."""
    image = preprocess.resample(s.images[s.index], s.spacing, vertebrae.PIXEL_MM)
    guess = run(vertebrae.prepare(s.images[s.around()], s.spacing)).argmax(0)[: image.shape[0], : image.shape[1]]
    view = [np.clip((np.arange(m) + 0.5) * vertebrae.PIXEL_MM / p, 0, n - 1).astype(int)
            for m, p, n in zip(image.shape, s.spacing, s.label.shape)]
    return guess, s.label[np.ix_(*view)]


def wrong_bodies(guess: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """(bodies above S1 of which no part of the guess holds half, or whose part holds half of another one too; all)."""
    bodies = parts(truth == anatomy.VERTEBRA, levels.SMALLEST_BODY_MM2 / vertebrae.PIXEL_MM**2)
    labelled, _ = label(binary_opening(guess == anatomy.VERTEBRA, iterations=2))
    held = []
    for body in bodies:
        counts = np.bincount(labelled[body])
        counts[0] = 0
        held.append(int(counts.argmax()) if counts.max() >= body.sum() / 2 else 0)
    return sum(h == 0 or held.count(h) > 1 for h in held), len(bodies)


def level_figures(run: Network, graded: list[dataset.Case]) -> dict[str, float]:
    """On real T1 slices: is S1 seen, and are there as many bodies above it as graded discs?"""
    seen, equal, near = 0, 0, 0
    for case in graded:
        count = len(case.t1.data)
        around = case.t1.data[vertebrae.neighbours(count // 2, count)]
        guess = run(vertebrae.prepare(around, case.t1.spacing)).argmax(0)
        found = levels.find(guess, (vertebrae.PIXEL_MM, vertebrae.PIXEL_MM))
        difference = found.bodies - 1 - len(case.grades) if found else 99
        seen, equal, near = seen + (found is not None), equal + (difference == 0), near + (abs(difference) <= 1)
    n = max(1, len(graded))
    return {"t1_patients": len(graded), "s1_seen": seen / n, "levels_equal": equal / n, "levels_within_1": near / n}


def modic_figures(run: Network, found: list[modic.Sample], crops: dict, threshold: float) -> dict[str, float]:
    """Dice on exact truth (phantoms, lesions simulated in real marrow), agreement with real disc gradings."""
    out = {}
    for name, (inputs, target) in crops.items():
        guess = np.concatenate([sigmoid(run(x[None].numpy())) for x in inputs])
        truth = target.numpy()
        out[f"{name}_dice"] = anatomy.dice(guess > threshold, truth == 1, truth != anatomy.IGNORE)
    table = modic.disc_table(run, found)
    if table:
        out |= agreement(table, threshold)
    return out


def lesion_figures(run: Network, found: list[modic.Sample], threshold: float) -> dict[str, float]:
    """On whole phantoms: the share of lesions that are met, and false findings an exam.

    A finding is a connected part that reaches an endplate; sizes as in the acceptance bar.
    """
    met = lesions = false = exams = overlap = total = 0
    for patient in sorted({s.patient for s in found if s.source == "phantom"}):
        slices = [s for s in found if s.patient == patient]
        guess = np.stack([probability(run, s) for s in slices]) > threshold
        truth = np.stack([s.target == 1 for s in slices])
        overlap, total = overlap + 2 * (guess & truth).sum(), total + guess.sum() + truth.sum()
        at_plate = np.stack([s.depth.astype(np.float32) < CONTACT_MM for s in slices])
        voxel_mm3 = slices[0].slice_mm * modic.PIXEL_MM**2
        for part in parts(truth, LESION_MM3 / voxel_mm3):
            lesions, met = lesions + 1, met + bool((part & guess).any())
        for part in parts(guess, FINDING_MM3 / voxel_mm3):
            false += bool((part & at_plate).any() and not (part & truth).any())
        exams += 1
    if not exams:
        return {}
    return {"phantom_exams": exams, "phantom_lesions": lesions, "phantom_lesions_met": met / max(1, lesions),
            "phantom_false_per_exam": false / exams, "phantom_volume_dice": float(overlap / max(1, total))}


def parts(mask: np.ndarray, smallest: float) -> list[np.ndarray]:
    labelled, count = label(mask)
    sizes = np.bincount(labelled.ravel(), minlength=count + 1)
    return [labelled == i for i in range(1, count + 1) if sizes[i] >= smallest]


def agreement(table: list[tuple[str, int, int, float]], threshold: float) -> dict[str, float]:
    """`any Modic` per disc against the gradings."""
    truth = np.array([grade > 0 for _, _, grade, _ in table])
    score = np.array([s for *_, s in table])
    said = score > threshold
    observed = (truth == said).mean()
    chance = truth.mean() * said.mean() + (1 - truth.mean()) * (1 - said.mean())
    return {
        "discs": len(table),
        "discs_graded": int(truth.sum()),
        "disc_auc": modic.auc(list(score[truth]), list(score[~truth])),
        "disc_sensitivity": float(said[truth].mean()) if truth.any() else float("nan"),
        "disc_specificity": float((~said[~truth]).mean()) if (~truth).any() else float("nan"),
        "disc_kappa": float((observed - chance) / (1 - chance + 1e-9)),
    }


def best_threshold(run: Network, found: list[modic.Sample], crops: dict) -> float:
    """On validation data: the best mean of Dice values, discs' kappa, lesions met and exams without a false finding."""
    run = remembered(run)

    def merit(threshold: float) -> float:
        figures = modic_figures(run, found, crops, threshold) | lesion_figures(run, found, threshold)
        good = [v for k, v in figures.items() if k.endswith("_dice") or k in ("disc_kappa", "phantom_lesions_met")]
        return float(np.mean([*good, max(0.0, 1 - figures.get("phantom_false_per_exam", 1.0))]))

    return float(round(max(THRESHOLDS, key=merit), 2))


def remembered(run: Network) -> Network:
    """`run`, asked only once for each input."""
    known: dict[bytes, np.ndarray] = {}

    def ask(x: np.ndarray) -> np.ndarray:
        key = hashlib.sha256(x.tobytes()).digest()
        if key not in known:
            known[key] = run(x)
        return known[key]

    return ask

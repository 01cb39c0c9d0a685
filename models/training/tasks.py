"""What the training loop needs to know of a network: data, loss, validation."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.data import IterableDataset

from . import anatomy, modic, record, vertebrae

NAMES = ("vertebrae", "modic")


@dataclass(frozen=True)
class Task:
    inputs: int
    outputs: int
    crops: IterableDataset
    loss: Callable[..., Tensor]
    validate: Callable[[nn.Module], dict[str, float]]


def load(name: str, args: argparse.Namespace) -> Task:
    """Reads the data; wants `data`, `phantoms`, `pseudo` and `seed` of `args`."""
    module = {"vertebrae": vertebrae, "modic": modic}[name]
    train, val = (module.samples(s, args.data, args.phantoms, args.pseudo) for s in ("train", "val"))
    held_out = module.held_out_crops(val)
    crops = module.Crops(train, args.seed, module.WEIGHTS)
    if name == "vertebrae":
        return Task(1, len(anatomy.CLASSES), crops, module.loss, lambda net: module.validate(net, held_out))
    return Task(len(modic.CHANNELS), 1, crops, module.loss, lambda net: module.validate(net, held_out, val))


def digests(args: argparse.Namespace) -> dict[str, str]:
    """Of the data a run sees, for its record."""
    found = {"spider": record.digest(args.data, "*.png")} if args.data else {}
    if args.phantoms:
        found["phantoms"] = record.digest(args.phantoms, "*.nii.gz")
    if args.pseudo:
        found["pseudo"] = record.digest(args.pseudo.parent, args.pseudo.name)
    return found

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
    """Reads the data; wants `data` and `seed` of `args`."""
    module = {"vertebrae": vertebrae, "modic": modic}[name]
    train, val = (module.samples(s, args.data) for s in ("train", "val"))
    held_out = module.held_out_crops(val)
    crops = module.Crops(train, args.seed, module.WEIGHTS)
    if name == "vertebrae":
        return Task(len(vertebrae.CHANNELS), len(anatomy.CLASSES), crops, module.loss, lambda net: module.validate(net, held_out))
    return Task(len(modic.CHANNELS), 1, crops, module.loss, lambda net: module.validate(net, held_out, val))


def digests(args: argparse.Namespace) -> dict[str, str]:
    """Of the data a run sees, for its record."""
    return {root.name: record.digest(root, "*.mha") for root in args.data}

"""Fits a trained `UNet` to int8: equalizes its channels, and finds the ranges of its values.

In int8 all channels of a map share one scale, so those with small values are left with few steps. A ReLU lets
positive factors through: each channel is divided by one and the weights that read it are multiplied by it, which
changes nothing in floats (Nagel et al. 2019, arXiv:1906.04721). Ranges are then those that disturb what the network
says least.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from .network import ConvUnit, UNet
from .quantized import SURE, QuantizedUNet

STRENGTH = 0.65  # of 1, at which all channels of a map are alike and weights lose more than values gain
LEAST = 0.02  # factor of a channel
OUTLIERS = 2000  # one pixel of so many of a slice isn't looked at when a channel's largest value is sought
FIRST = 0.82  # of the largest value is the range with which the search begins
STEPS = (0.8, 1.25)


def equalized(net: UNet, inputs: list[np.ndarray]) -> UNet:
    """The same function with channels that int8 tells apart; `inputs` are slices `[1, channels, h, w]`."""
    net = copy.deepcopy(net).eval()
    tops = _tops(net, inputs)
    for name, unit in _units(net).items():
        share = tops[name] / _range(net, name, tops)
        factor = (share.clamp_min(1e-6) ** STRENGTH).clamp(LEAST, 1)
        unit[1].weight.data /= factor
        unit[1].bias.data /= factor
        for reader, at in _readers(net, name):
            reader.weight.data[:, at : at + len(factor)] *= factor[:, None, None]
    return net


@torch.no_grad()
def quantization(net: UNet, inputs: list[np.ndarray]) -> dict[str, tuple[float, int]]:
    """Scale and zero point of the values called so in the ONNX file: the range of one map after the other is varied."""
    slices = [torch.from_numpy(x.astype(np.float32)) for x in inputs]
    wanted = [_probability(net(x)) for x in slices]
    rounded = QuantizedUNet(net.inputs, net.classes)
    rounded.load_state_dict(net.state_dict(), strict=False)
    rounded.eval()
    found: dict[str, tuple[float, int]] = {}

    def set_range(name: str, low: float, high: float) -> None:
        scale = (high - low) / 255
        found[name] = scale, round(-low / scale)
        rounded.ranges[name].scale = torch.tensor([scale])
        rounded.ranges[name].zero_point = torch.tensor([found[name][1]], dtype=torch.int32)

    def error() -> float:
        return sum(float(((_probability(rounded(x)) - p) ** 2).mean()) for x, p in zip(slices, wanted))

    logits = torch.cat([net(x).flatten() for x in slices])
    set_range("logits", *((-SURE, SURE) if net.classes == 1 else (float(logits.min()), float(logits.max()))))
    tops = _tops(net, inputs)
    ranges = {"input": max(float(x.max()) for x in slices)}
    for name in _units(net):
        ranges[_map(net, name)] = FIRST * float(_range(net, name, tops))
    for name, high in ranges.items():
        set_range(name, 0, high)
    least = error()
    for name, high in ranges.items():
        tried = {}
        for step in STEPS:
            set_range(name, 0, step * high)
            tried[step] = error()
        best = min(tried, key=tried.get)
        if tried[best] < least:
            least, ranges[name] = tried[best], best * high
        set_range(name, 0, ranges[name])
    return found


def _probability(logits: Tensor) -> Tensor:
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def _units(net: UNet) -> dict[str, ConvUnit]:
    """By the names of their values in the ONNX file."""
    units = {f"reduce{level}": unit for level, unit in enumerate(net.reduce)}
    for kind, blocks in (("down", net.down), ("up", net.up)):
        units |= {f"{kind}{level}_{i}": unit for level, block in enumerate(blocks) for i, unit in enumerate(block)}
    return units


def _tops(net: UNet, inputs: list[np.ndarray]) -> dict[str, Tensor]:
    """The largest value of each channel of each unit."""
    tops: dict[str, Tensor] = {}

    def look(name: str, value: Tensor) -> None:
        pixels = value[0].flatten(1)
        top = pixels.topk(max(1, pixels.shape[1] // OUTLIERS), 1).values[:, -1]
        tops[name] = torch.maximum(tops[name], top) if name in tops else top

    hooks = [
        unit.register_forward_hook(lambda _unit, _inputs, value, name=name: look(name, value))
        for name, unit in _units(net).items()
    ]
    with torch.no_grad():
        for x in inputs:
            net(torch.from_numpy(x.astype(np.float32)))
    for hook in hooks:
        hook.remove()
    return tops


def _map(net: UNet, name: str) -> str:
    """The map whose range holds for a unit's values: a concatenation's, where they are part of one."""
    depth = len(net.up)
    if name.startswith("reduce"):
        return f"concat{name.removeprefix('reduce')}"
    kind, level, i = _place(name)
    last = kind == "down" and level < depth and i == len(net.down[level]) - 1
    return f"concat{depth - 1 - level}" if last else name


def _range(net: UNet, name: str, tops: dict[str, Tensor]) -> Tensor:
    """The largest value of the map that a unit's values are in."""
    same = [top.max() for other, top in tops.items() if _map(net, other) == _map(net, name)]
    return torch.stack(same).max()


def _readers(net: UNet, name: str) -> list[tuple[nn.Conv2d, int]]:
    """The convolutions that read a unit's values, and which input channel of theirs is the first one."""
    depth = len(net.up)
    if name.startswith("reduce"):
        reader = net.up[int(name.removeprefix("reduce"))][0][0]
        return [(reader, reader.in_channels // 2)]
    kind, level, i = _place(name)
    block = (net.down if kind == "down" else net.up)[level]
    if i + 1 < len(block):
        return [(block[i + 1][0], 0)]
    if kind == "up":
        return [(net.reduce[level + 1][0] if level + 1 < depth else net.head, 0)]
    if level == depth:
        return [(net.reduce[0][0], 0)]
    return [(net.down[level + 1][0][0], 0), (net.up[depth - 1 - level][0][0], 0)]


def _place(name: str) -> tuple[str, int, int]:
    """`down2_1` is unit 1 of block 2 of the way down."""
    kind = name.rstrip("0123456789_")
    level, i = name.removeprefix(kind).split("_")
    return kind, int(level), int(i)

"""An earlier network's weights: read, and made a run's first ones."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from . import onnx_file
from .network import UNet
from .quantized import QuantizedUNet

FIRST = "down.0.0.0.weight"


def load(checkpoint: Path) -> UNet:
    """A network from a run's checkpoint or from a bundle's `network.onnx`."""
    if checkpoint.suffix == ".onnx":
        return onnx_file.read(checkpoint)
    state = torch.load(checkpoint)["net"]
    kind = QuantizedUNet if any(name.startswith("ranges.") for name in state) else UNet
    net = kind(state[FIRST].shape[1], len(state["head.bias"]))
    net.load_state_dict(state)
    return net.eval()


def begin(net: UNet, earlier: Path, inputs: Tensor) -> None:
    """Gives `net` the weights of a checkpoint or of a bundle's `network.onnx`.

    One that saw each slice alone (network 1 before 0.3.0, network 2 too) goes on seeing that slice: its
    neighbours' weights begin at 0.
    """
    state = load(earlier).state_dict()
    wanted = net.state_dict()[FIRST]
    if wanted.shape[1] == 3 * state[FIRST].shape[1]:
        wide = torch.zeros_like(wanted)
        wide[:, 1::3] = state[FIRST]
        state[FIRST] = wide
    # A quantized network finds its ranges by itself, and leaves BatchNorm folded.
    quantized = isinstance(net, QuantizedUNet)
    net.load_state_dict(state, strict=not quantized)
    if not quantized and earlier.suffix == ".onnx":
        unfold(net, inputs)


@torch.no_grad()
def unfold(net: UNet, inputs: Tensor) -> None:
    """Gives a bundle's network its BatchNorm back, with the statistics of `inputs`; it computes the same."""

    def take(norm: nn.BatchNorm2d, given: tuple[Tensor], _: Tensor) -> None:
        var, mean = torch.var_mean(given[0], (0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var.clamp_min(1e-4))
        norm.weight.copy_(torch.sqrt(norm.running_var + norm.eps))
        norm.bias.add_(mean)

    hooks = [m.register_forward_hook(take) for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    net.eval()(inputs)
    for hook in hooks:
        hook.remove()

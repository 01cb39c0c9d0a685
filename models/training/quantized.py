"""The U-Net with its values rounded as in int8, to be trained so: what it learns, the runtime then computes.

Weights are rounded per output channel, activations per tensor to u8, the parts of a concatenation alike, as
`onnx_file` writes them. BatchNorm is folded in, its statistics stay as they were.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver
from torch.nn.functional import conv2d, interpolate, max_pool2d

from .network import ConvUnit, UNet, folded

SURE = 8.0  # a logit of a network with one class beyond which nothing changes


class QuantizedUNet(UNet):
    """As `UNet`; its weights are a `UNet`'s, its ranges are found while it trains."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(inputs, classes)
        names = ["input", "logits", *(f"concat{level}" for level in range(len(self.up)))]
        names += [f"down{level}_{i}" for level, block in enumerate(self.down) for i in range(len(block))]
        names += [f"up{level}_{i}" for level, block in enumerate(self.up) for i in range(len(block))]
        self.ranges = nn.ModuleDict({name: _activation() for name in names})

    def train(self, mode: bool = True) -> QuantizedUNet:
        for range_ in self.ranges.values():
            range_.enable_observer(mode)
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self.ranges["input"](x.float()), []
        for level, block in enumerate(self.down):
            if level:
                skips.append(x)
                x = max_pool2d(x, 2)
            for i, unit in enumerate(block):
                last = i == len(block) - 1 and level < len(self.up)
                x = self._unit(unit, x, f"concat{len(self.up) - 1 - level}" if last else f"down{level}_{i}")
        for level, (reduce, block) in enumerate(zip(self.reduce, self.up)):
            x = interpolate(self._unit(reduce, x, f"concat{level}"), scale_factor=2, mode="nearest")
            x = torch.cat((skips.pop(), x), dim=1)
            for i, unit in enumerate(block):
                x = self._unit(unit, x, f"up{level}_{i}")
        x = conv2d(x, _rounded(self.head.weight), self.head.bias).float()
        return self.ranges["logits"](x.clamp(-SURE, SURE) if self.classes == 1 else x)

    def quantization(self) -> dict[str, tuple[float, int]]:
        """Scale and zero point of the values called so in the ONNX file."""
        used = {name: range_ for name, range_ in self.ranges.items() if range_.activation_post_process.min_val.isfinite()}
        params = {name: range_.calculate_qparams() for name, range_ in used.items()}
        return {name: (float(scale), int(zero)) for name, (scale, zero) in params.items()}

    def _unit(self, unit: ConvUnit, x: Tensor, name: str) -> Tensor:
        weight, bias = folded(unit)
        x = conv2d(x, _rounded(weight), bias, padding=unit[0].padding)
        return self.ranges[name](x.float().relu())


def _rounded(weight: Tensor) -> Tensor:
    scale = weight.detach().abs().amax((1, 2, 3)).clamp_min(1e-8) / 127
    zeros = torch.zeros(len(weight), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight.float(), scale.float(), zeros, 0, -127, 127)


def _activation() -> FakeQuantize:
    return FakeQuantize(
        MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8,
        qscheme=torch.per_tensor_affine, averaging_constant=0.01,
    )

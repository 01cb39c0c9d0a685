"""Writes a trained `UNet` as ONNX, float and int8.

The graph is built by hand, node for node what the `models` crate's kernels know:
Conv, Relu, MaxPool, Resize (nearest x2, constant scales), Concat. BatchNorm is
folded into the convolutions. Height and width stay symbolic.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from torch import nn

from .network import ConvUnit, UNet, folded

OPSET = 13


class _Graph:
    """Nodes and weights in the making; each method returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights = [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")]

    def _add(self, kind: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def conv(self, x: str, weight: np.ndarray, bias: np.ndarray, output: str) -> str:
        self.weights += [numpy_helper.from_array(weight, f"{output}_w"), numpy_helper.from_array(bias, f"{output}_b")]
        k = weight.shape[-1]
        return self._add(
            "Conv", [x, f"{output}_w", f"{output}_b"], output,
            kernel_shape=[k, k], pads=[k // 2] * 4, strides=[1, 1],
        )

    def unit(self, x: str, unit: ConvUnit, name: str) -> str:
        weight, bias = (value.detach().numpy() for value in folded(unit))
        return self._add("Relu", [self.conv(x, weight, bias, f"{name}_conv")], name)

    def pool(self, x: str) -> str:
        return self._add("MaxPool", [x], f"{x}_pool", kernel_shape=[2, 2], strides=[2, 2])

    def up(self, x: str) -> str:
        return self._add(
            "Resize", [x, "", "scales"], f"{x}_up", mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )

    def concat(self, a: str, b: str, name: str) -> str:
        return self._add("Concat", [a, b], name, axis=1)


def write_float(net: UNet, path: Path) -> None:
    """The float network, input `input`, output `logits`, batch 1."""
    net = net.eval()
    graph, x, skips = _Graph(), "input", []
    for level, block in enumerate(net.down):
        if level:
            skips.append(x)
            x = graph.pool(x)
        for i, unit in enumerate(block):
            x = graph.unit(x, unit, f"down{level}_{i}")
    for level, (reduce, block) in enumerate(zip(net.reduce, net.up)):
        x = graph.up(graph.unit(x, reduce, f"reduce{level}"))
        x = graph.concat(skips.pop(), x, f"concat{level}")
        for i, unit in enumerate(block):
            x = graph.unit(x, unit, f"up{level}_{i}")
    graph.conv(x, net.head.weight.detach().numpy(), net.head.bias.detach().numpy(), "logits")

    def tensor(name: str, channels: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "height", "width"])

    whole = helper.make_graph(graph.nodes, "unet", [tensor("input", net.inputs)], [tensor("logits", net.classes)], graph.weights)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="modic training")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def read(path: Path) -> UNet:
    """The network of an int8 file, as floats; BatchNorm stays folded away (it changes nothing)."""
    known = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}

    def fill(conv: nn.Conv2d, name: str, norm: nn.BatchNorm2d | None = None) -> None:
        scale = known[f"{name}_w_scale"].reshape(-1, 1, 1, 1)
        weight = torch.from_numpy(known[f"{name}_w_quantized"] * scale)
        bias = torch.from_numpy(known[f"{name}_b_quantized"] * known[f"{name}_b_quantized_scale"]).float()
        conv.weight.data.copy_(weight)
        if norm is None:
            conv.bias.data.copy_(bias)
        else:
            norm.running_var.fill_(1 - norm.eps)
            norm.bias.data.copy_(bias)

    inputs, classes = known["down0_0_conv_w_quantized"].shape[1], len(known["logits_w_quantized"])
    net = UNet(inputs, classes)
    for kind, blocks in (("down", net.down), ("up", net.up)):
        for level, block in enumerate(blocks):
            for i, unit in enumerate(block):
                fill(unit[0], f"{kind}{level}_{i}_conv", unit[1])
    for level, unit in enumerate(net.reduce):
        fill(unit[0], f"reduce{level}_conv", unit[1])
    fill(net.head, "logits")
    return net.eval()


class _Reader(CalibrationDataReader):
    def __init__(self, inputs: Iterable[np.ndarray]) -> None:
        self.inputs = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        x = next(self.inputs, None)
        return None if x is None else {"input": x}


def write_int8(
    source: Path, path: Path, calibration: list[np.ndarray], known: dict[str, tuple[float, int]]
) -> None:
    """Static QDQ quantization: u8 activations, s8 weights per output channel.

    Scale and zero point of the values in `known` are those; the others' ranges are found on `calibration`.
    The parts of a concatenation get its scale, so that it costs nothing where it runs: they are written in place.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # Only names shapes and fuses nothing that QDQ would need.
        inferred, first = Path(scratch) / "inferred.onnx", Path(scratch) / "first.onnx"
        onnx.save(onnx.shape_inference.infer_shapes(onnx.load(source)), inferred)
        graph = onnx.load(inferred).graph
        names = {output for node in graph.node for output in node.output} | {"input"}
        overrides = {
            name: [{"scale": np.array(scale, np.float32), "zero_point": np.array(zero, np.uint8)}]
            for name, (scale, zero) in known.items()
            if name in names
        }
        _quantize(inferred, first, calibration, overrides)
        _quantize(inferred, path, calibration, overrides | concatenated(graph, onnx.load(first).graph))


def concatenated(source: onnx.GraphProto, quantized: onnx.GraphProto) -> dict[str, list[dict]]:
    """By the name of each float value that a concatenation joins: the concatenation's quantization."""
    constants = {t.name: numpy_helper.to_array(t) for t in quantized.initializer}
    quantizers = {node.input[0]: node for node in quantized.node if node.op_type == "QuantizeLinear"}
    made_by = {node.output[0]: node for node in source.node}
    parts: dict[str, list[dict]] = {}
    for node in source.node:
        if node.op_type == "Concat":
            scale, zero_point = (constants[name] for name in quantizers[node.output[0]].input[1:])
            for name in node.input:
                # What only moves values has its input's quantization.
                while made_by[name].op_type == "Resize":
                    name = made_by[name].input[0]
                parts[name] = [{"scale": scale, "zero_point": zero_point}]
    return parts


def _quantize(source: Path, path: Path, calibration: list[np.ndarray], overrides: dict[str, list[dict]]) -> None:
    quantize_static(
        source, path, _Reader(calibration),
        quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={
            "CalibMovingAverage": True, "CalibMovingAverageConstant": 0.1, "TensorQuantOverrides": overrides,
        },
    )


def session(path: Path, optimise: bool = True) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(net: ort.InferenceSession, x: np.ndarray) -> np.ndarray:
    """Logits `[classes, h, w]` for `[1, channels, h, w]`."""
    return net.run(["logits"], {"input": x.astype(np.float32)})[0][0]

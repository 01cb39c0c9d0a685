"""The networks that `compare` runs: U-Nets with random weights, quantized; and quantized ones as floats again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

OPSET = 13


class _Graph:
    """Nodes and random weights in the making; each method returns its output's name."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def add(self, kind: str, inputs: list[str], **attributes) -> str:
        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def _weighted(self, kind: str, x: str, shape: tuple[int, ...], inputs: int, outputs: int, **attributes) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        weight = self.random.normal(0, np.sqrt(2 / inputs), shape).astype(np.float32)
        bias = self.random.normal(0, 0.1, outputs).astype(np.float32)
        self.weights += [numpy_helper.from_array(weight, f"{name}_w"), numpy_helper.from_array(bias, f"{name}_b")]
        return self.add(kind, [x, f"{name}_w", f"{name}_b"], kernel_shape=list(shape[2:]), **attributes)

    def conv(self, x: str, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> str:
        shape = (outputs, inputs, kernel, kernel)
        pads, strides = [kernel // 2] * 4, [stride] * 2
        return self._weighted("Conv", x, shape, inputs * kernel**2, outputs, pads=pads, strides=strides)

    def unit(self, *args: str | int) -> str:
        return self.add("Relu", [self.conv(*args)])

    def transpose(self, x: str, inputs: int, outputs: int) -> str:
        return self._weighted("ConvTranspose", x, (inputs, outputs, 2, 2), inputs, outputs, strides=[2, 2])

    def nearest(self, x: str) -> str:
        modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        if not any(t.name == "scales" for t in self.weights):
            self.weights.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
        return self.add("Resize", [x, "", "scales"], **modes)


def unet(
    inputs: int, width: int, up: Literal["nearest", "transpose"], join: Literal["concat", "add"], stem: bool, seed: int
) -> ModelProto:
    """A U-Net with random weights that halves its input four times; input `input`, output `logits`, batch 1.

    With `stem`, a convolution of stride 2 is the first halving, and the logits are as coarse until the end.
    """
    graph, x, channels, classes, skips = _Graph(seed), "input", inputs, 4, []
    if stem:
        x, channels = graph.unit(x, inputs, width, 3, 2), width
    widths = [width << level for level in range(4 if stem else 5)]
    for level, width in enumerate(widths):
        if level:
            skips.append(x)
            x = graph.add("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
        x, channels = graph.unit(graph.unit(x, channels, width), width, width), width
    for width in reversed(widths[:-1]):
        if up == "nearest":
            x = graph.nearest(graph.unit(x, channels, width, 1))
        else:
            x = graph.transpose(x, channels, width)
        if join == "concat":
            x, channels = graph.add("Concat", [skips.pop(), x], axis=1), 2 * width
        else:
            x, channels = graph.add("Add", [skips.pop(), x]), width
        x, channels = graph.unit(graph.unit(x, channels, width), width, width), width
    x = graph.conv(x, channels, classes, 1)
    if stem:
        x = graph.nearest(x)
    graph.nodes[-1].output[0] = "logits"

    def tensor(name: str, channels: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "height", "width"])

    ends = [tensor("input", inputs)], [tensor("logits", classes)]
    whole = helper.make_graph(graph.nodes, "unet", *ends, graph.weights)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Reader(CalibrationDataReader):
    """Three random pictures."""

    def __init__(self, channels: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.inputs: Iterator[np.ndarray] = (
            random.uniform(0, 2, (1, channels, 64, 64)).astype(np.float32) for _ in range(3)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        x = next(self.inputs, None)
        return None if x is None else {"input": x}


def quantized(model: ModelProto, seed: int) -> ModelProto:
    """Static QDQ quantization: u8 activations, s8 weights per output channel; as the training writes networks."""
    channels = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    with tempfile.TemporaryDirectory() as scratch:
        source, path = Path(scratch) / "float.onnx", Path(scratch) / "int8.onnx"
        onnx.save(onnx.shape_inference.infer_shapes(model), source)
        quantize_static(
            source, path, _Reader(channels, seed),
            quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return onnx.load(path)


def unquantized(model: ModelProto) -> ModelProto:
    """The float network of a QDQ one: weights dequantized, activations as they are.

    A convolution whose output is quantized with zero point 0 had a ReLU, which quantizing made a part of the range.
    """
    known = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    producers = {output: node for node in model.graph.node for output in node.output}
    nodes: list[NodeProto] = []
    floats: dict[str, np.ndarray] = {}
    same: dict[str, str] = {}  # a tensor's name in the float network, where it isn't its own
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in known:
            value, scale, zero = (known[name] for name in node.input)
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            shape = [-1 if d == axis else 1 for d in range(value.ndim)] if scale.size > 1 else [1] * value.ndim
            steps = value.astype(np.float32) - zero.reshape(shape).astype(np.float32)
            floats[node.output[0]] = (steps * scale.reshape(shape)).astype(np.float32)
        elif node.op_type == "QuantizeLinear":
            x, source = same.get(node.input[0], node.input[0]), producers.get(node.input[0])
            if source and source.op_type in ("Conv", "ConvTranspose") and known[node.input[2]] == 0:
                nodes.append(helper.make_node("Relu", [x], [f"{x}_relu"], name=f"{x}_relu"))
                x = f"{x}_relu"
            same[node.output[0]] = x
        elif node.op_type == "DequantizeLinear":
            same[node.output[0]] = same[node.input[0]]
        else:
            kept = NodeProto()
            kept.CopyFrom(node)
            kept.input[:] = [same.get(name, name) for name in node.input]
            nodes.append(kept)
    final = model.graph.output[0].name
    if final in same:
        last = next(node for node in nodes if node.output[0] == same[final])
        last.output[0] = final
    used = {name for node in nodes for name in node.input}
    floats |= {name: value for name, value in known.items() if name in used}
    weights = [numpy_helper.from_array(value, name) for name, value in floats.items()]
    whole = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, weights)
    result = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(result, full_check=True)
    return result


def gmac(model: ModelProto, height: int, width: int) -> float:
    """Billions of multiply-accumulates that a float network's convolutions need for one picture."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    for end in (fixed.graph.input[0], fixed.graph.output[0]):
        for dim, size in zip(end.type.tensor_type.shape.dim[2:], (height, width)):
            dim.dim_value = size
    del fixed.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    tensors = [*inferred.input, *inferred.value_info, *inferred.output]
    sizes = {t.name: int(np.prod([d.dim_value for d in t.type.tensor_type.shape.dim[2:]])) for t in tensors}
    weights = {t.name: int(np.prod(t.dims)) for t in fixed.graph.initializer}
    total = 0
    for node in fixed.graph.node:
        # Each weight meets each output pixel of a convolution, each input pixel of a transposed one.
        if node.op_type in ("Conv", "ConvTranspose"):
            total += weights[node.input[1]] * sizes[(node.output if node.op_type == "Conv" else node.input)[0]]
    return total / 1e9

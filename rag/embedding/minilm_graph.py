"""Writes all-MiniLM-L6-v2 as an ONNX graph, because its published weights come without one.

The graph is the encoder with mean pooling and L2 normalisation over standard opset 23 operators; int8 adds
`com.microsoft.MatMulIntegerToFloat`. It has no attention mask: every run holds one unpadded text. int8 means
weights quantised symmetrically per output channel and activations per token, so a vector never depends on what
else is in the run (stock dynamic quantisation takes one scale per tensor and so does). Only this module needs `onnx`.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

Precision = Literal["int8", "fp32"]

# config.json of the published model
LAYERS: Final = 6
HEADS: Final = 12
DIMENSIONS: Final = 384
LAYER_NORM_EPSILON: Final = 1e-12

Weights = Mapping[str, npt.NDArray[np.float32]]
Tensor = str  # a value inside the graph goes by its name


class _Graph:
    """Nodes and constants under construction; every method returns the name of the value it adds."""

    def __init__(self, weights: Weights, precision: Precision) -> None:
        self.weights = weights
        self.precision = precision
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._quantized: dict[Tensor, tuple[Tensor, Tensor]] = {}
        self.last_axis = self.constant(np.array([-1]))
        self.inverse_range = self.constant(np.float32(1 / 127))
        self.one = self.constant(np.float32(1))
        self.zero_point = self.constant(np.uint8(128))
        self.flat = self.constant(np.array([-1, DIMENSIONS]))

    def constant(self, value: npt.ArrayLike) -> Tensor:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name))
        return name

    def apply(self, operator: str, *inputs: Tensor, domain: str = "", **attributes: float) -> Tensor:
        name = f"n{len(self.nodes)}"
        node = helper.make_node(operator, inputs, [name], domain=domain)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        self.nodes.append(node)
        return name

    def linear(self, x: Tensor, layer: str) -> Tensor:
        weight, bias = self.weights[f"{layer}.weight"], self.constant(self.weights[f"{layer}.bias"])
        if self.precision == "fp32":
            return self.apply("Add", self.apply("MatMul", x, self.constant(weight.T)), bias)
        quantized, token_scale = self.quantize(x)
        channel_scale = np.abs(weight).max(axis=1) / 127
        product = self.apply(
            "MatMulIntegerToFloat",
            quantized,
            self.constant(np.rint(weight.T / channel_scale).astype(np.int8)),
            self.one,
            self.constant(channel_scale),
            self.zero_point,
            self.constant(np.zeros(len(channel_scale), np.int8)),
            domain="com.microsoft",
        )
        return self.apply("Add", self.apply("Mul", product, token_scale), bias)

    def quantize(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Add (tokens as uint8 around 128, which integer dot products take as their left side; scale per token)."""
        if x not in self._quantized:  # query, key and value read the same tensor
            largest = self.apply("ReduceMax", self.apply("Abs", x), self.last_axis, keepdims=0)
            scale = self.apply("Mul", largest, self.inverse_range)
            zeros = self.apply("Expand", self.constant(np.array([128], np.uint8)), self.apply("Shape", scale))
            quantized = self.apply("QuantizeLinear", x, scale, zeros, axis=0)
            self._quantized[x] = quantized, self.apply("Unsqueeze", scale, self.last_axis)
        return self._quantized[x]

    def layer_norm(self, x: Tensor, layer: str) -> Tensor:
        weight, bias = self.constant(self.weights[f"{layer}.weight"]), self.constant(self.weights[f"{layer}.bias"])
        return self.apply("LayerNormalization", x, weight, bias, epsilon=LAYER_NORM_EPSILON)

    def embeddings(self) -> Tensor:
        prefix = "embeddings."
        # one segment only, so its type embedding is a constant part of the position
        segment = self.weights[f"{prefix}token_type_embeddings.weight"][0]
        position = self.weights[f"{prefix}position_embeddings.weight"] + segment
        words = self.apply("Gather", self.constant(self.weights[f"{prefix}word_embeddings.weight"]), "ids")
        first = self.constant(np.array([0]))
        length = self.apply("Shape", "ids", start=1)
        positions = self.apply("Slice", self.constant(position), first, length, first)
        x = self.layer_norm(self.apply("Add", words, positions), f"{prefix}LayerNorm")
        return self.apply("Reshape", x, self.flat)

    def encoder_layer(self, x: Tensor, prefix: str, shape: Tensor) -> Tensor:
        query, key, value = (
            self.apply("Reshape", self.linear(x, f"{prefix}attention.self.{part}"), shape)
            for part in ("query", "key", "value")
        )
        attended = self.apply("Attention", query, key, value, q_num_heads=HEADS, kv_num_heads=HEADS)
        projected = self.linear(self.apply("Reshape", attended, self.flat), f"{prefix}attention.output.dense")
        x = self.layer_norm(self.apply("Add", x, projected), f"{prefix}attention.output.LayerNorm")
        hidden = self.apply("Gelu", self.linear(x, f"{prefix}intermediate.dense"))
        return self.layer_norm(
            self.apply("Add", x, self.linear(hidden, f"{prefix}output.dense")), f"{prefix}output.LayerNorm"
        )


def serialize_graph(weights: Weights, precision: Precision) -> bytes:
    """Return the ONNX model that maps `ids` [batch, tokens] int64 to unit-length [batch, 384] float32."""
    graph = _Graph(weights, precision)
    shape = graph.apply("Concat", graph.apply("Shape", "ids"), graph.constant(np.array([DIMENSIONS])), axis=0)
    x = graph.embeddings()
    for layer in range(LAYERS):
        x = graph.encoder_layer(x, f"encoder.layer.{layer}.", shape)
    mean = graph.apply("ReduceMean", graph.apply("Reshape", x, shape), graph.constant(np.array([1])), keepdims=0)
    output = graph.apply("LpNormalization", mean, axis=-1, p=2)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", DIMENSIONS])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
    )
    return bytes(model.SerializeToString())

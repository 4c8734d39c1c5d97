"""An ONNX graph, built node by node, and how it stores matrices: as float32, float16 or int8.

float16 is how a matrix is stored: it is cast to float32 when the graph is loaded, and what is computed is float32. int8
multiplies integers. Each column of a matrix, and each row of what it is multiplied with, has a scale of its own, so a
sentence's result does not depend on the sentences beside it, as it does where a batch shares one scale
(DynamicQuantizeLinear). Both factors are stored with 128 added, as unsigned bytes: the signed products of CPUs without
VNNI overflow 16 bits. Vectors (biases, layer norms) are always float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wmt_transformer.config import UserError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

Precision = Literal["float32", "float16", "int8"]

OPSET = 20  # the first with Gelu's tanh form; onnxruntime has it from 1.17 on
_IR = 9  # the format that belongs to it: the package writes its newest otherwise, which older runtimes refuse
_ZERO = np.uint8(128)  # the byte that means 0


class Graph:
    """Collects nodes and stored arrays; every method that adds nodes returns the name of what they compute."""

    def __init__(self, precision: Precision = "float32"):
        self._onnx = package()
        self._precision = precision
        self._nodes: list[NodeProto] = []
        self._first: list[NodeProto] = []  # computed from stored arrays alone: once, when the graph is loaded
        self._stored: dict[str, np.ndarray] = {}
        self._known: dict[tuple[Any, ...], str] = {}
        self._count = 0

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Adds an operator with one output, which has the given name or a new one."""
        name = name or self._new(operator)
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name

    def choose(
        self, condition: str, names: Sequence[str], then: Callable[[], list[str]], otherwise: Callable[[], list[str]]
    ) -> None:
        """Adds arrays of these names, which one of two functions adds the nodes for: the first where the condition is
        true."""
        branches = {"then_branch": self._branch("then", then), "else_branch": self._branch("else", otherwise)}
        self._nodes.append(self._onnx.helper.make_node("If", [condition], list(names), self._new("If"), **branches))

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """Returns the name of a small array of numbers, stored once however often it is asked for."""
        array = np.asarray(value, dtype)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self.vector(self._new("constant"), array)
        return self._known[key]

    def vector(self, name: str, value: np.ndarray) -> str:
        """Stores an array as it is."""
        self._stored[name] = value
        return name

    def matrix(self, name: str, value: np.ndarray) -> str:
        """Stores an array whose rows are read, not multiplied: float32 or float16; computed with as float32."""
        if self._precision == "float32":
            return self.vector(name, value.astype(np.float32))
        return self._at_loading("Cast", self.vector(name, _half(name, value)), to=self._onnx.TensorProto.FLOAT)

    def rows(self, ids: str, name: str, table: np.ndarray) -> str:
        """Returns the rows of a table `[rows, width]`."""
        if self._precision != "int8":
            return self.add("Gather", self._once(name, lambda: self.matrix(name, table)), ids)
        codes, scales = self._bytes(name, table)
        number = self.add("Cast", self.add("Gather", codes, ids), to=self._onnx.TensorProto.FLOAT)
        centred = self.add("Sub", number, self.constant(float(_ZERO), np.float32))
        scale = self.add("Gather", scales, ids)
        return self.add("Mul", centred, self.add("Unsqueeze", scale, self.constant([-1])))

    def product(self, x: str, name: str, table: np.ndarray) -> str:
        """Returns x `[…, width]` times the transpose of a table `[rows, width]`, which `rows` may read too."""
        if self._precision != "int8":
            stored = self._once(name, lambda: self.matrix(name, table))
            turned = self._once((name, "transposed"), lambda: self._at_loading("Transpose", stored, perm=[1, 0]))
            return self.add("MatMul", x, turned)
        codes, scales = self._bytes(name, table)
        turned = self._once((name, "transposed"), lambda: self._at_loading("Transpose", codes, perm=[1, 0]))
        row_codes, row_scales = self._row_bytes(x)
        zero = self.constant(_ZERO, np.uint8)
        total = self.add("MatMulInteger", row_codes, turned, zero, zero)
        total = self.add("Cast", total, to=self._onnx.TensorProto.FLOAT)
        return self.add("Mul", self.add("Mul", total, row_scales), scales)

    def model(self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]) -> ModelProto:
        """Returns the graph as a model."""
        helper, arrays = self._onnx.helper, self._onnx.numpy_helper
        stored = [arrays.from_array(np.ascontiguousarray(value), key) for key, value in self._stored.items()]
        graph = helper.make_graph([*self._first, *self._nodes], name, list(inputs), list(outputs), stored)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="wmt_transformer")

    def _bytes(self, name: str, table: np.ndarray) -> tuple[str, str]:
        """Stores a table as bytes with a scale for each row."""

        def store() -> str:
            scales = np.maximum(np.abs(table).max(axis=1), np.finfo(np.float32).tiny) / np.float32(127)
            self.vector(f"{name}/scales", scales.astype(np.float32))
            return self.vector(name, (np.rint(table / scales[:, None]) + float(_ZERO)).astype(np.uint8))

        return self._once(name, store), f"{name}/scales"

    def _row_bytes(self, x: str) -> tuple[str, str]:
        """Returns x as bytes, and the scale of each row."""
        if (x, "bytes") not in self._known:
            largest = self.add("ReduceMax", self.add("Abs", x), self.constant([-1]), keepdims=1)
            some = self.add("Max", largest, self.constant(1e-30, np.float32))  # a row of zeros has a scale too
            scales = self.add("Mul", some, self.constant(1 / 127, np.float32))
            codes = self.add("Round", self.add("Div", x, scales))
            codes = self.add("Add", codes, self.constant(float(_ZERO), np.float32))
            self._known[x, "bytes"] = self.add("Cast", codes, to=self._onnx.TensorProto.UINT8)
            self._known[x, "scales"] = scales
        return self._known[x, "bytes"], self._known[x, "scales"]

    def _at_loading(self, operator: str, stored: str, **attributes: Any) -> str:
        """Adds an operator on a stored array before all others, where a runtime computes it once."""
        name = self._new(operator)
        self._first.append(self._onnx.helper.make_node(operator, [stored], [name], name, **attributes))
        return name

    def _branch(self, name: str, build: Callable[[], list[str]]) -> GraphProto:
        nodes, known = self._nodes, dict(self._known)
        self._nodes = []
        names = build()
        helper = self._onnx.helper
        outputs = [helper.make_empty_tensor_value_info(name) for name in names]
        branch = helper.make_graph(self._nodes, name, [], outputs)
        computed = {output for node in self._nodes for output in node.output}  # nothing outside the branch may read it
        self._known = known | {key: value for key, value in self._known.items() if value not in computed}
        self._nodes = nodes
        return branch

    def _once(self, key: Any, make: Callable[[], str]) -> str:
        key = key if isinstance(key, tuple) else (key,)
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def _new(self, operator: str) -> str:
        self._count += 1
        return f"{operator}_{self._count}"


def _half(name: str, value: np.ndarray) -> np.ndarray:
    most = float(np.abs(value).max(initial=0.0))
    if most > float(np.finfo(np.float16).max):
        raise UserError(f"{name} has the value {most:g}, which float16 cannot hold; export float32 or int8")
    return value.astype(np.float16)


def package() -> ModuleType:
    """Returns the onnx package. Raises UserError where it is not installed."""
    try:
        import onnx
    except ImportError:
        raise UserError("onnx is not installed; run: pip install 'onnx>=1.17'") from None
    return onnx

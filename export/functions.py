"""Operators of our own in graphs, each a function of ONNX's own operators, too.

A session that knows `kernels/c/onnx.c` (`kernels.onnx_runtime`) computes them with our kernels in C; every other one, in a
browser or where there was no compiler, takes each for the operators that its function holds. Weights in 16 bits stay so in
memory and are widened in registers: a step of a stream is over when they are read. Matrices in 32 bits lie in a file as they
are read, in panels, so that none is copied and turned over when a session is made.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

OPSET = 18  # of ONNX's own operators, in graphs and functions
DOMAIN, VERSION = "toneme", 1
HALF = "Half"  # behind the name of an operator whose matrices are in 16 bits
PANELS = "Panels"  # behind the name of one whose matrix [inputs, outputs] lies as its kernel reads it: [panels, inputs, 16]
PANEL = 16  # columns
LEAST = 1 << 12  # values of a matrix from which a product is worth an operator of ours
MATRICES = {"Affine": (1,), "Product": (1,), "ConvNeXt": (6, 8), "Nearest": (1,)}  # places among the inputs
INTEGERS = ("codes",)  # outputs that are no floats
FLOAT, INTEGER = 1, 2  # types of attributes, as ONNX counts them
HALVES = 10  # type of tensors in 16 bits; FLOAT is that of those in 32, too
END = (1 << 63) - 1


def use_kernels(model: Any) -> None:
    """Let operators of ours take matrices in 16 bits as they are, products among them, and add the functions, in place."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    halves = {node.output[0]: node.input[0] for node in model.graph.node if _widens(node, weights)}
    floats = {name for name, tensor in weights.items() if _is_large(tensor, FLOAT)}
    for node in _nodes(model.graph):
        if node.op_type in ("Gemm", "MatMul") and (node.input[1] in halves or node.input[1] in floats):
            _take_product(node)
        if node.domain == DOMAIN and node.op_type in ("Affine", "Product") and node.input[1] in floats:
            _take_panels(node, weights, model.graph)
        places = MATRICES.get(node.op_type, ()) if node.domain == DOMAIN else ()
        if places and all(node.input[place] in halves for place in places):
            for place in places:
                node.input[place] = halves[node.input[place]]
            node.op_type += HALF
    _drop_unused(model.graph)
    add_functions(model)


def add_functions(model: Any) -> None:
    """Add the functions of those operators of ours that a model has, in place."""
    from onnx import helper

    names = sorted({node.op_type for node in _nodes(model.graph) if node.domain == DOMAIN})
    del model.functions[:]
    model.functions.extend(function(name) for name in names)
    if names and all(known.domain != DOMAIN for known in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))


def _nodes(graph: Any) -> Iterator[Any]:
    """Give the nodes of a graph and of all graphs in it."""
    for node in graph.node:
        yield node
        for field in node.attribute:
            if field.HasField("g"):
                yield from _nodes(field.g)


def operator(name: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, int]) -> Any:
    """Return an operator of ours as the exporter writes it; attributes by their types."""
    from onnx.defs import OpSchema
    from onnxscript.values import Op, Opset

    kinds = {FLOAT: OpSchema.AttrType.FLOAT, INTEGER: OpSchema.AttrType.INT}
    schema = OpSchema(
        name, DOMAIN, VERSION,
        inputs=[OpSchema.FormalParameter(each, "T") for each in inputs],
        outputs=[OpSchema.FormalParameter(each, "I" if each in INTEGERS else "T") for each in outputs],
        type_constraints=[("T", ["tensor(float)"], ""), ("I", ["tensor(int64)"], "")],
        attributes=[OpSchema.Attribute(each, kinds[kind]) for each, kind in attributes.items()],
    )  # fmt: skip
    return Op(Opset(DOMAIN, VERSION), name, schema)


def _widens(node: Any, weights: Mapping[str, Any]) -> bool:
    """Say whether a node widens a large matrix in 16 bits."""
    if node.op_type != "Cast" or node.input[0] not in weights:
        return False
    return _is_large(weights[node.input[0]], HALVES)


def _is_large(tensor: Any, kind: int) -> bool:
    """Say whether a tensor is a matrix that is worth an operator of ours."""
    return tensor.data_type == kind and len(tensor.dims) == 2 and math.prod(tensor.dims) >= LEAST


def _take_product(node: Any) -> None:
    """Turn a product into an operator of ours, where nothing else is asked of it."""
    from onnx import helper

    settings = {field.name: helper.get_attribute_value(field) for field in node.attribute}
    turned = settings.pop("transB", 0)
    asked = any(value != (name != "transA") for name, value in settings.items())
    if asked or (node.op_type == "Gemm" and len(node.input) == 2):
        return
    del node.attribute[:]
    if node.op_type == "Gemm":
        node.attribute.append(helper.make_attribute("turned", turned))
    node.op_type, node.domain = ("Affine" if node.op_type == "Gemm" else "Product"), DOMAIN


def _take_panels(node: Any, weights: dict[str, Any], graph: Any) -> None:
    """Let a product take its matrix in panels, which are put beside it."""
    from onnx import helper, numpy_helper

    turned = any(field.name == "turned" and field.i for field in node.attribute)
    name = f"{node.input[1]}.{'turned.' if turned else ''}panels"
    matrix = numpy_helper.to_array(weights[node.input[1]])
    matrix = matrix.T if turned else matrix
    if name not in weights:
        weights[name] = numpy_helper.from_array(panels(matrix), name)
        graph.initializer.append(weights[name])
    node.input[1], node.op_type = name, node.op_type + PANELS
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("columns", matrix.shape[1]))


def panels(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix [inputs, outputs] as [panels, inputs, 16]: sixteen columns each, the last filled up with zeros."""
    inputs, outputs = matrix.shape
    filled = np.pad(matrix, ((0, 0), (0, -outputs % PANEL)))
    return np.ascontiguousarray(filled.reshape(inputs, -1, PANEL).transpose(1, 0, 2))


def _drop_unused(graph: Any) -> None:
    """Take out what widened a matrix for nothing but operators of ours, and weights that nothing asks for."""
    used = _used(graph)
    for node in [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in used]:
        graph.node.remove(node)
    used = _used(graph)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def _used(graph: Any) -> set[str]:
    """Return the names that nodes of a graph and of those in it take, and what it gives."""
    return {name for node in _nodes(graph) for name in node.input} | {value.name for value in graph.output}


def function(name: str) -> Any:
    """Return an operator of ours as a function of common ones."""
    from onnx import helper

    plain = name.removesuffix(HALF)
    inputs, outputs, settings = SIGNATURES[plain]
    widened = [inputs[place] for place in MATRICES[plain]] if name.endswith(HALF) else []
    nodes = [helper.make_node("Cast", [matrix], [f"{matrix}.wide"], to=FLOAT) for matrix in widened]
    for node in BODIES[plain]():
        node.input[:] = [f"{value}.wide" if value in widened else value for value in node.input]
        nodes.append(node)
    return helper.make_function(DOMAIN, name, inputs, outputs, nodes, [helper.make_opsetid("", OPSET)], list(settings))


def _affine() -> Iterator[Any]:
    yield from _affined("matrix", transB=_Given("turned", INTEGER))


def _affined(matrix: str, **settings: Any) -> Iterator[Any]:
    """Give the nodes of one product over all rows: with its bias it is one operator of two axes."""
    yield _node("Flatten", "x", "rows", axis=-1)
    yield _node("Gemm", f"rows {matrix} bias", "sums", **settings)
    yield _node("Shape", "x", "lead", start=0, end=-1)
    yield _node("Shape", "sums", "last", start=-1)
    yield _node("Concat", "lead last", "shape", axis=0)
    yield _node("Reshape", "sums shape", "y", allowzero=1)


def _affine_panels() -> Iterator[Any]:
    yield from _matrix_of_panels()
    yield from _affined("matrix")


def _product() -> Iterator[Any]:
    yield _node("MatMul", "x matrix", "y")


def _product_panels() -> Iterator[Any]:
    yield from _matrix_of_panels()
    yield from _product()


def _matrix_of_panels() -> Iterator[Any]:
    """Give the nodes that a session computes once, when it folds its constants."""
    yield _node("Transpose", "panels", "filled", perm=[1, 0, 2])
    yield _node("Flatten", "filled", "flat", axis=1)
    for name, value in (("none", 0), ("across", 1), ("stop", _Given("columns", INTEGER))):
        yield _node("Constant", "", f"{name}.one", value_int=value)
    yield _node("Constant", "", "place", value_ints=[0])
    for name in ("none", "across", "stop"):
        yield _node("Unsqueeze", f"{name}.one place", name)
    yield _node("Slice", "flat none stop across", "matrix")


def _convnext() -> Iterator[Any]:
    """Give the nodes of a block; its GELU is in the order in which ONNX Runtime makes one operator of it."""
    yield _node("Concat", "state x", "joined", axis=1)
    yield _node("Shape", "x", "frames", start=1, end=2)
    for name, values in (("end", [END]), ("time", [1])):
        yield _node("Constant", "", name, value_ints=values)
    yield _node("Slice", "joined frames end time", "after")
    yield _node("Transpose", "joined", "image", perm=[0, 3, 1, 2])
    yield _node("Conv", "image filters bias", "mixed", group=_Given("channels", INTEGER))
    yield _node("Transpose", "mixed", "rows", perm=[0, 2, 3, 1])
    yield _node("LayerNormalization", "rows gain shift", "normed", axis=-1, epsilon=_Given("epsilon", FLOAT))
    yield _node("Flatten", "normed", "flat", axis=3)
    yield _node("Gemm", "flat wide wide_bias", "hidden", transB=1)
    for name, value in (("root", math.sqrt(2)), ("one", 1.0), ("half", 0.5)):
        yield _node("Constant", "", name, value_float=value)
    yield _node("Div", "hidden root", "scaled")
    yield _node("Erf", "scaled", "erf")
    yield _node("Add", "erf one", "more")
    yield _node("Mul", "hidden more", "twice")
    yield _node("Mul", "twice half", "active")
    yield _node("Unsqueeze", "scale time", "column")
    yield _node("Mul", "narrow column", "matrix")
    yield _node("Mul", "narrow_bias scale", "offset")
    yield _node("Gemm", "active matrix offset", "added", transB=1)
    yield _node("Shape", "x", "size")
    yield _node("Reshape", "added size", "shaped")
    yield _node("Add", "x shaped", "y")


def _elu() -> Iterator[Any]:
    """Give the nodes of ELU: ONNX Runtime's own takes twice the time of these four; e^x - 1 never is less than x."""
    for name, value in (("zero", 0.0), ("one", 1.0)):
        yield _node("Constant", "", name, value_float=value)
    yield _node("Min", "x zero", "low")
    yield _node("Exp", "low", "power")
    yield _node("Sub", "power one", "less")
    yield _node("Max", "x less", "y")


def _lstm() -> Iterator[Any]:
    """Give the nodes of an LSTM layer; ONNX has its gates in the order input, output, forget, cell."""
    yield _node("Transpose", "x", "steps", perm=[1, 0, 2])
    yield _node("Constant", "", "first", value_ints=[0])
    for name in ("weights", "recurrent", "bias"):
        yield _node("Split", name, f"{name}.i {name}.f {name}.g {name}.o", axis=0, num_outputs=4)
        yield _node("Concat", f"{name}.i {name}.o {name}.f {name}.g", f"{name}.turned", axis=0)
    yield _node("Sub", "bias.turned bias.turned", "nothing")
    yield _node("Concat", "bias.turned nothing", "both", axis=0)
    for name in ("weights.turned", "recurrent.turned", "both"):
        yield _node("Unsqueeze", f"{name} first", f"{name}.one")
    inputs = "steps weights.turned.one recurrent.turned.one both.one"
    lstm = _node("LSTM", inputs, "outputs hidden_after cell_after", hidden_size=_Given("width", INTEGER))
    lstm.input.extend(["", "hidden", "cell"])
    yield lstm
    yield _node("Constant", "", "second", value_ints=[1])
    yield _node("Squeeze", "outputs second", "rows")
    yield _node("Transpose", "rows", "y", perm=[1, 0, 2])


def _delayed() -> Iterator[Any]:
    for name, values in (("start", [0]), ("end", [-1]), ("time", [1])):
        yield _node("Constant", "", name, value_ints=values)
    yield _node("Concat", "first late", "joined", axis=1)
    yield _node("Slice", "joined start end time", "shifted")
    yield _node("Add", "x shifted", "y")


def _nearest() -> Iterator[Any]:
    yield _node("Gemm", "rows codebook bias", "scores", transB=1)
    yield _node("ArgMax", "scores", "codes", axis=1, keepdims=0)
    yield _node("Gather", "codebook codes", "chosen", axis=0)
    yield _node("Sub", "rows chosen", "rest")


def _snake() -> Iterator[Any]:
    yield _node("Mul", "x scale", "scaled")
    yield from _bent("scaled")


def _bent(x: str = "x") -> Iterator[Any]:
    yield _node("Sin", x, "wave")
    yield _node("Mul", "wave wave", "square")
    yield _node("Add", f"{x} square", "y")


SIGNATURES = {  # inputs, outputs, attributes
    "Affine": (["x", "matrix", "bias"], ["y"], {"turned": INTEGER}),
    "Product": (["x", "matrix"], ["y"], {}),
    "AffinePanels": (["x", "panels", "bias"], ["y"], {"columns": INTEGER}),
    "ProductPanels": (["x", "panels"], ["y"], {"columns": INTEGER}),
    "ConvNeXt": (
        ["x", "state", "filters", "bias", "gain", "shift", "wide", "wide_bias", "narrow", "narrow_bias", "scale"],
        ["y", "after"],
        {"channels": INTEGER, "epsilon": FLOAT},
    ),
    "Elu": (["x"], ["y"], {}),
    "Delayed": (["x", "late", "first"], ["y"], {}),
    "Snake": (["x", "scale"], ["y"], {}),
    "Bent": (["x"], ["y"], {}),
    "Nearest": (["rows", "codebook", "bias"], ["codes", "rest"], {"slope": FLOAT, "offset": FLOAT}),
    "Lstm": (["x", "weights", "recurrent", "bias", "hidden", "cell"], ["y", "hidden_after", "cell_after"], {"width": INTEGER}),
}
BODIES = {
    "Nearest": _nearest,
    "Snake": _snake,
    "Bent": _bent,
    "Delayed": _delayed,
    "Affine": _affine,
    "Product": _product,
    "AffinePanels": _affine_panels,
    "ProductPanels": _product_panels,
    "ConvNeXt": _convnext,
    "Elu": _elu,
    "Lstm": _lstm,
}


@dataclass(frozen=True)
class _Given:
    """The value of an attribute that the operator is given."""

    name: str
    kind: int


def _node(kind: str, inputs: str, outputs: str, **settings: Any) -> Any:
    from onnx import helper

    known = {name: value for name, value in settings.items() if not isinstance(value, _Given)}
    node = helper.make_node(kind, inputs.split(), outputs.split(), **known)
    for name, value in settings.items():
        if isinstance(value, _Given):
            node.attribute.add(name=name, ref_attr_name=value.name, type=value.kind)
    return node

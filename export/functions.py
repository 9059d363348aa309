"""Operators of our own in graphs, each a function of ONNX's own operators, too.

A session that knows `kernels/c/onnx.c` (`kernels.onnx_runtime`) computes them with our kernels in C; every other one, in a
browser or where there was no compiler, takes each for the operators that its function holds. Weights in 16 bits stay so in
memory and are widened in registers: a step of a stream is over when they are read. Matrices in 32 bits lie in a file as they
are read, in panels, so that none is copied and turned over when a session is made.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import block_functions, elu_functions, two_taps_functions
from .function_nodes import FLOAT, INTEGER, Given, made, matrix_of

OPSET = 18  # of ONNX's own operators, in graphs and functions
DOMAIN, VERSION = "toneme", 1
HALF = "Half"  # behind the name of an operator whose matrices are in 16 bits
PANELS = "Panels"  # behind the name of one whose matrix [inputs, outputs] lies as its kernel reads it: [panels, inputs, 16]
MATRICES = {"Affine": (1,), "Product": (1,), "ConvNeXt": (6, 8), "Nearest": (1,)}  # places among the inputs
INTEGERS = ("codes",)  # outputs that the exporter asks for and that are no floats
END = (1 << 63) - 1


def add_functions(model: Any) -> None:
    """Add the functions of those operators of ours that a model has, in place."""
    from onnx import helper

    names = sorted({node.op_type for node in nodes_of(model.graph) if node.domain == DOMAIN})
    del model.functions[:]
    model.functions.extend(function(name) for name in names)
    if names and all(known.domain != DOMAIN for known in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))


def nodes_of(graph: Any) -> Iterator[Any]:
    """Give the nodes of a graph and of all graphs in it."""
    for node in graph.node:
        yield node
        for field in node.attribute:
            if field.HasField("g"):
                yield from nodes_of(field.g)


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
    yield from _affined("matrix", transB=Given("turned", INTEGER))


def _affined(matrix: str, **settings: Any) -> Iterator[Any]:
    """Give the nodes of one product over all rows: with its bias it is one operator of two axes."""
    yield made("Flatten", "x", "rows", axis=-1)
    yield made("Gemm", f"rows {matrix} bias", "sums", **settings)
    yield made("Shape", "x", "lead", start=0, end=-1)
    yield made("Shape", "sums", "last", start=-1)
    yield made("Concat", "lead last", "shape", axis=0)
    yield made("Reshape", "sums shape", "y", allowzero=1)


def _affine_panels() -> Iterator[Any]:
    yield from _matrix_of_panels()
    yield from _affined("matrix")


def _product() -> Iterator[Any]:
    yield made("MatMul", "x matrix", "y")


def _product_panels() -> Iterator[Any]:
    yield from _matrix_of_panels()
    yield from _product()


def _matrix_of_panels() -> Iterator[Any]:
    yield made("Constant", "", "columns", value_int=Given("columns"))
    yield made("Constant", "", "place", value_ints=[0])
    yield made("Unsqueeze", "columns place", "columns.one")
    yield from matrix_of("panels", "matrix", "columns.one")


def _convnext() -> Iterator[Any]:
    """Give the nodes of a block; its GELU is in the order in which ONNX Runtime makes one operator of it."""
    yield made("Concat", "state x", "joined", axis=1)
    yield made("Shape", "x", "frames", start=1, end=2)
    for name, values in (("end", [END]), ("time", [1])):
        yield made("Constant", "", name, value_ints=values)
    yield made("Slice", "joined frames end time", "after")
    yield made("Transpose", "joined", "image", perm=[0, 3, 1, 2])
    yield made("Conv", "image filters bias", "mixed", group=Given("channels", INTEGER))
    yield made("Transpose", "mixed", "rows", perm=[0, 2, 3, 1])
    yield made("LayerNormalization", "rows gain shift", "normed", axis=-1, epsilon=Given("epsilon", FLOAT))
    yield made("Flatten", "normed", "flat", axis=3)
    yield made("Gemm", "flat wide wide_bias", "hidden", transB=1)
    for name, value in (("root", math.sqrt(2)), ("one", 1.0), ("half", 0.5)):
        yield made("Constant", "", name, value_float=value)
    yield made("Div", "hidden root", "scaled")
    yield made("Erf", "scaled", "erf")
    yield made("Add", "erf one", "more")
    yield made("Mul", "hidden more", "twice")
    yield made("Mul", "twice half", "active")
    yield made("Unsqueeze", "scale time", "column")
    yield made("Mul", "narrow column", "matrix")
    yield made("Mul", "narrow_bias scale", "offset")
    yield made("Gemm", "active matrix offset", "added", transB=1)
    yield made("Shape", "x", "size")
    yield made("Reshape", "added size", "shaped")
    yield made("Add", "x shaped", "y")


def _lstm() -> Iterator[Any]:
    """Give the nodes of an LSTM layer; ONNX has its gates in the order input, output, forget, cell."""
    yield made("Transpose", "x", "steps", perm=[1, 0, 2])
    yield made("Constant", "", "first", value_ints=[0])
    for name in ("weights", "recurrent", "bias"):
        yield made("Split", name, f"{name}.i {name}.f {name}.g {name}.o", axis=0, num_outputs=4)
        yield made("Concat", f"{name}.i {name}.o {name}.f {name}.g", f"{name}.turned", axis=0)
    yield made("Sub", "bias.turned bias.turned", "nothing")
    yield made("Concat", "bias.turned nothing", "both", axis=0)
    for name in ("weights.turned", "recurrent.turned", "both"):
        yield made("Unsqueeze", f"{name} first", f"{name}.one")
    inputs = "steps weights.turned.one recurrent.turned.one both.one"
    lstm = made("LSTM", inputs, "outputs hidden_after cell_after", hidden_size=Given("width", INTEGER))
    lstm.input.extend(["", "hidden", "cell"])
    yield lstm
    yield made("Constant", "", "second", value_ints=[1])
    yield made("Squeeze", "outputs second", "rows")
    yield made("Transpose", "rows", "y", perm=[1, 0, 2])


def _delayed() -> Iterator[Any]:
    for name, values in (("start", [0]), ("end", [-1]), ("time", [1])):
        yield made("Constant", "", name, value_ints=values)
    yield made("Concat", "first late", "joined", axis=1)
    yield made("Slice", "joined start end time", "shifted")
    yield made("Add", "x shifted", "y")


def _nearest() -> Iterator[Any]:
    yield made("Gemm", "rows codebook bias", "scores", transB=1)
    yield made("ArgMax", "scores", "codes", axis=1, keepdims=0)
    yield made("Gather", "codebook codes", "chosen", axis=0)
    yield made("Sub", "rows chosen", "rest")


def _snake() -> Iterator[Any]:
    yield made("Mul", "x scale", "scaled")
    yield from _bent("scaled")


def _bent(x: str = "x") -> Iterator[Any]:
    yield made("Sin", x, "wave")
    yield made("Mul", "wave wave", "square")
    yield made("Add", f"{x} square", "y")


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
    "Delayed": (["x", "late", "first"], ["y"], {}),
    "Snake": (["x", "scale"], ["y"], {}),
    "Bent": (["x"], ["y"], {}),
    "Nearest": (["rows", "codebook", "bias"], ["codes", "rest"], {"slope": FLOAT, "offset": FLOAT}),
    "Lstm": (["x", "weights", "recurrent", "bias", "hidden", "cell"], ["y", "hidden_after", "cell_after"], {"width": INTEGER}),
    **block_functions.SIGNATURES,
    **elu_functions.SIGNATURES,
    **two_taps_functions.SIGNATURES,
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
    "Lstm": _lstm,
    **block_functions.BODIES,
    **elu_functions.BODIES,
    **two_taps_functions.BODIES,
}

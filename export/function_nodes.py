"""Nodes of the functions that operators of ours are, too (`functions`)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

FLOAT, INTEGER = 1, 2  # types of attributes, as ONNX counts them


@dataclass(frozen=True)
class Given:
    """The value of an attribute that the operator is given."""

    name: str
    kind: int = INTEGER


def made(kind: str, inputs: str, outputs: str, **settings: Any) -> Any:
    """Return a node of names that are separated by spaces."""
    from onnx import helper

    known = {name: value for name, value in settings.items() if not isinstance(value, Given)}
    node = helper.make_node(kind, inputs.split(), outputs.split(), **known)
    for name, value in settings.items():
        if isinstance(value, Given):
            node.attribute.add(name=name, ref_attr_name=value.name, type=value.kind)
    return node


def matrix_of(panels: str, matrix: str, columns: str) -> Iterator[Any]:
    """Give the nodes of a matrix that lies in panels, of so many columns [1]: a session computes them once, as constants."""
    yield made("Transpose", panels, f"{matrix}.filled", perm=[1, 0, 2])
    yield made("Flatten", f"{matrix}.filled", f"{matrix}.flat", axis=1)
    for name, value in (("first", 0), ("axis", 1)):
        yield made("Constant", "", f"{matrix}.{name}", value_ints=[value])
    yield made("Slice", f"{matrix}.flat {matrix}.first {columns} {matrix}.axis", matrix)


def choice(condition: str, output: str, yes: Iterable[Any], no: Iterable[Any]) -> Any:
    """Return what the last of some nodes gives, or of others; a session makes the choice once where it is a constant."""
    from onnx import helper

    graphs = []
    for name, nodes in (("yes", list(yes)), ("no", list(no))):
        last = helper.make_tensor_value_info(nodes[-1].output[0], 1, None)
        graphs.append(helper.make_graph(nodes, name, [], [last]))
    return helper.make_node("If", [condition], [output], then_branch=graphs[0], else_branch=graphs[1])

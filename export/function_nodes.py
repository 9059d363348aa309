"""Nodes of the functions that operators of ours are, too (`functions`)."""

from collections.abc import Iterable
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


def choice(condition: str, output: str, yes: Iterable[Any], no: Iterable[Any]) -> Any:
    """Return what the last of some nodes gives, or of others; a session makes the choice once where it is a constant."""
    from onnx import helper

    graphs = []
    for name, nodes in (("yes", list(yes)), ("no", list(no))):
        last = helper.make_tensor_value_info(nodes[-1].output[0], 1, None)
        graphs.append(helper.make_graph(nodes, name, [], [last]))
    return helper.make_node("If", [condition], [output], then_branch=graphs[0], else_branch=graphs[1])

"""From a network with named states to an ONNX graph: one graph, whatever the length and the batch.

A `Network` takes its input and its states and returns its output and the states after it; in the graph the state `x` goes in as
`state.x` and comes out as `next.x`. Traps of the exporter that concern whole graphs are dealt with here:

- states as a variable number of arguments are taken by `torch.export`, not by `torch.onnx.export`, so the first one goes first;
- sizes of 1 in the example would be frozen, so examples have 2 or more of everything that may vary;
- examples that are slices of larger tensors add a guard on the parent's size, so they are copied;
- the exporter's own optimizer takes `x + 1e-8` for `x`, and silence for infinity after that: only its passes that change no
  number are run;
- the exporter's GELU is in an order that ONNX Runtime takes for five operators;
- names of dimensions, inputs and outputs are set afterwards, since the exporter's own differ between its versions.
"""

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..codecs.base import Codec
from ..codecs.chunking import Plan
from ..kernels.errors import MissingDependencyError, how_to_install
from . import blocks, operators, rows
from .functions import OPSET, add_functions
from .manifest import Side, State

CHUNK_SECONDS, BULK_SECONDS = 1.0, 5.0  # that a chunk gives out, of a stream and of whole audio
MOST_BATCH = 4096
MOST_FRAMES = 1 << 20


@dataclass(frozen=True)
class Port:
    """An input or an output: its name and its axes, each a number or a name with a factor ("480*frames")."""

    name: str
    axes: tuple[int | str, ...]


class Network(nn.Module):
    """One direction of a codec.

    Attributes:
        takes, gives: the input and the output. Axes that vary are named "batch", "frames", "codebooks" or a multiple of them.
    """

    takes: tuple[Port, ...]
    gives: tuple[Port, ...]

    def states(self, batch: int) -> dict[str, Tensor]:
        """Return the states before the first frame, by name: zeros all, the batch on the axis whose size is the batch."""
        return {}

    def rings(self) -> dict[str, tuple[int, str]]:
        """Return which states are rings (`manifest`): the axis of their slots, and how many rows a call gives ("2*frames")."""
        return {}

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Return the outputs, and the states after them under the same names, of rings the new rows."""
        raise NotImplementedError

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Take inputs and states one after another; return outputs and states one after another."""
        count, names = len(self.takes), list(self.states(1))
        outputs, after = self.run(values[:count], dict(zip(names, values[count:], strict=True)))
        return (*outputs, *(after[name] for name in names))


@dataclass(frozen=True)
class Direction:
    """A network, how the runtime feeds it, and the example sizes that `build` traces it with."""

    network: Network
    side: Side
    sizes: Mapping[str, int]


def chunked_sides(codec: Codec) -> tuple[Side, Side]:
    """Return both sides of a codec that is not causal, chunked as its own streams are but for shorter chunks."""
    plan = Plan(codec, None, CHUNK_SECONDS)
    return chunked_side("encoder.onnx", codec, plan), chunked_side("decoder.onnx", codec, plan)


def chunked_side(file: str, codec: Codec, plan: Plan) -> Side:
    """Return a side that is chunked by a plan, and takes more at once where whole audio is given."""
    # with three contexts more, what `codecs.long_audio` takes at once is taken at once, and nothing is computed twice
    bulk = max(1, round(BULK_SECONDS * codec.spec.sample_rate / plan.unit)) + 3 * plan.context
    delay = (plan.chunk - 1 + plan.context) * plan.unit
    return Side(file, "chunks", plan.unit, chunk=plan.chunk, bulk=bulk, context=plan.context, delay=delay)


def state_axes(network: Network) -> dict[str, tuple[int | str, ...]]:
    """Return the axes of each state: the one that grows with the batch is "batch"."""
    one, two = network.states(1), network.states(2)
    return {
        name: tuple("batch" if a != b else a for a, b in zip(one[name].shape, two[name].shape, strict=True)) for name in one
    }


def state_list(network: Network) -> tuple[State, ...]:
    """Return the states as `codec.json` lists them."""
    types = {name: str(state.dtype).removeprefix("torch.") for name, state in network.states(1).items()}
    rings = {name: axis for name, (axis, _) in network.rings().items()}
    return tuple(State(name, axes, types[name], rings.get(name)) for name, axes in state_axes(network).items())


def build(network: Network, sizes: Mapping[str, int]) -> Any:
    """Return the ONNX model of a network.

    Args:
        network: in evaluation mode, on the CPU.
        sizes: example size of each named axis, 2 or more ("batch": 2, "frames": 3); "codebooks" may be left out.

    Raises:
        MissingDependencyError: if onnx or onnxscript is not installed.
    """
    require_exporter()
    states = state_axes(network)
    ports = [*network.takes, *(Port(f"state.{name}", axes) for name, axes in states.items())]
    given = network.states(sizes["batch"])
    examples = [_example(port, sizes) for port in network.takes] + [given[name].clone() for name in states]
    dims = {name: torch.export.Dim(name, min=1, max=_most(name)) for name in sizes}
    shapes = tuple(_dynamic(port.axes, dims) for port in ports)
    names = [port.name for port in network.gives] + [f"next.{name}" for name in states]
    with quiet(), torch.no_grad():
        # lengths that are rounded up raise questions that the tracer cannot answer: it is to put them off, not to refuse
        traced = torch.export.export(
            network, tuple(examples), dynamic_shapes=(shapes,), strict=False, prefer_deferred_runtime_asserts_over_guards=True
        )
        program = torch.onnx.export(
            traced,
            input_names=[port.name for port in ports],
            output_names=names,
            opset_version=OPSET,
            verbose=False,
            optimize=False,
            custom_translation_table=_translations(),
        )
        assert program is not None
        _simplify(program.model)
        blocks.cut(program.model)
        _tidy(program.model)
    model = program.model_proto
    add_functions(model)
    _name_axes(model, {port.name: port.axes for port in (*ports, *network.gives)} | _axes_after(states, network.rings()))
    return model


def _axes_after(
    states: Mapping[str, tuple[int | str, ...]], rings: Mapping[str, tuple[int, str]]
) -> dict[str, tuple[int | str, ...]]:
    axes = {f"next.{name}": axes for name, axes in states.items()}
    for name, (axis, count) in rings.items():
        axes[f"next.{name}"] = (*states[name][:axis], count, *states[name][axis + 1 :])
    return axes


def require_exporter() -> None:
    """Raise MissingDependencyError where the packages that write ONNX files are not installed."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise MissingDependencyError(f"to export, install onnx and onnxscript: {how_to_install('export')}") from None


def _simplify(model: Any) -> None:
    """Fold what is constant and drop what is unused or there twice, in place."""
    from onnx_ir.passes import common
    from onnxscript import optimizer

    optimizer.inline(model)
    optimizer.fold_constants(model)
    _plain_shapes(model)
    passes = (
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
    )
    for each in passes:
        each(model)


def _tidy(model: Any) -> None:
    """Drop what layers in blocks have in common, and the exporter's notes: paths of its machine, longer than the graph itself.

    A session takes a tenth of a millisecond and more for each operator when it is made.
    """
    from onnx_ir.passes import common

    for each in (common.CommonSubexpressionEliminationPass(), common.ClearMetadataAndDocStringPass()):
        each(model)


def _plain_shapes(model: Any) -> None:
    """Write shapes that are reshaped to as constants where 0 (as it was) and one -1 (the rest) say them, in place."""
    import numpy as np
    import onnx_ir as ir

    for node in list(model.graph):
        if node.op_type != "Reshape" or node.inputs[1].const_value is not None:
            continue
        before, after = node.inputs[0].shape, node.outputs[0].shape
        if before is None or after is None:
            continue
        old = [str(dim) for dim in before]
        sizes = [d if isinstance(d, int) else 0 if old[n : n + 1] == [str(d)] else -1 for n, d in enumerate(after)]
        if sizes.count(-1) > 1:
            continue
        shape = ir.Value(name=f"{node.outputs[0].name}.shape", const_value=ir.tensor(np.array(sizes, np.int64)))
        model.graph.register_initializer(shape)
        node.replace_input_with(1, shape)
        node.attributes["allowzero"] = ir.AttrInt64("allowzero", 0)


def _translations() -> dict[Any, Any]:
    ours = {**rows.translations(), **blocks.translations(), **operators.translations()}
    return {torch.ops.aten.gelu.default: _gelu, **ours}


def _gelu(x: Any, approximate: str = "none") -> Any:
    """Write GELU in the order in which ONNX Runtime knows it again and makes one operator of it."""
    from onnxscript import opset18

    op: Any = opset18  # its types know symbols of a graph only
    return op.Mul(op.Mul(x, op.Add(op.Erf(op.Div(x, math.sqrt(2))), 1.0)), 0.5)


def _most(name: str) -> int:
    return MOST_BATCH if name == "batch" else MOST_FRAMES


def _example(port: Port, sizes: Mapping[str, int]) -> Tensor:
    shape = [axis if isinstance(axis, int) else _factor(axis)[0] * sizes[_factor(axis)[1]] for axis in port.axes]
    if port.name.startswith(("codes", "length")):
        return torch.zeros(shape, dtype=torch.int64)
    return torch.randn(shape) * 0.1


def _dynamic(axes: tuple[int | str, ...], dims: Mapping[str, Any]) -> dict[int, Any]:
    named = {i: _factor(axis) for i, axis in enumerate(axes) if isinstance(axis, str)}
    return {i: factor * dims[name] if factor > 1 else dims[name] for i, (factor, name) in named.items()}


def _factor(axis: str) -> tuple[int, str]:
    """Return (480, "frames") of "480*frames"."""
    *factor, name = axis.split("*")
    return int(factor[0]) if factor else 1, name


def _name_axes(model: Any, axes: Mapping[str, tuple[int | str, ...]]) -> None:
    for value in (*model.graph.input, *model.graph.output):
        for dim, axis in zip(value.type.tensor_type.shape.dim, axes[value.name], strict=True):
            if isinstance(axis, int):
                dim.dim_value = axis
            else:
                dim.dim_param = axis


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's talk off the terminal; errors come through."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

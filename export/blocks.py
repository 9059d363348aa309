"""Layers of DAC as operators of their own, on rows of samples [batch, time, channels], that a graph computes in blocks of time.

In torch, and while it is traced, each is a function; afterwards `cut` writes it as a `Scan` whose body takes what a block
sees, bends it and multiplies it with one matrix after another. ONNX Runtime packs a matrix of its own beforehand, which it does
not do with a stack of them, and goes through all rows for each slice of a matrix: rows that stay in the cache are a fifth
faster. As in `codecs.layers.dac_convolution`, a dilated convolution of 7 taps is 13 products of a quarter of the rows (see
`codecs.layers.toom_cook`); one of two strides, to or from a lower rate, is a product of rows with two taps.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..codecs.layers import toom_cook
from .functions import DOMAIN, INTEGER, operator
from .operators import bent
from .scans import Samples, Spans, Writer, over_blocks, own_constant

TILE, TAPS = toom_cook.TILE, toom_cook.TAPS
REACH = TAPS // 2
VALUES = 1 << 18  # of a block, 1 MB
LEAST_ROWS, MOST_ROWS = 1024, 2048  # of a block: for fewer the matrices are read too often, of more nothing is gained
END = 1 << 60


# -- the functions ------------------------------------------------------------------------------------------------


@torch.library.custom_op("toneme::dilated", mutates_args=())
def dilated(x: Tensor, matrices: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """Return the convolution of x [batch, time, in] with 7 taps, given as values [13, in, out] (`toom_cook.pack`)."""
    time, rest = x.shape[1], toom_cook.rows_for(x.shape[1], dilation)
    padded = F.pad(x, (0, 0, REACH * dilation, rest - REACH * dilation - time))
    packed = matrices[:TAPS], matrices[TAPS:]
    return torch.stack([toom_cook.convolve(packed, bias, dilation, item, time) for item in padded])


@dilated.register_fake
def _(x: Tensor, matrices: Tensor, bias: Tensor, dilation: int) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], matrices.shape[2])


@torch.library.custom_op("toneme::residual", mutates_args=())
def residual(
    x: Tensor, scale: Tensor, matrices: Tensor, bias: Tensor, mixed: Tensor, mixed_bias: Tensor, dilation: int
) -> Tensor:
    """Return x [batch, time, channels] plus a convolution of 7 taps and one of 1, an activation before each.

    Args:
        x: samples.
        scale: of the first activation.
        matrices, bias: of the convolution, as in `dilated`, for inputs and outputs that are times the activations' scales.
        mixed, mixed_bias: of the second, [channels, channels].
        dilation: of the first.
    """
    return x + bent(dilated(bent(x * scale), matrices, bias, dilation)) @ mixed + mixed_bias


@residual.register_fake
def _(x: Tensor, scale: Tensor, matrices: Tensor, bias: Tensor, mixed: Tensor, mixed_bias: Tensor, dilation: int) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("toneme::two_taps", mutates_args=())
def two_taps(
    x: Tensor, scale: Tensor, early: Tensor, late: Tensor, both: Tensor, bias: Tensor, stride: int, lead: int, cut: list[int]
) -> Tensor:
    """Return what rows of `stride` samples and those after them give, of the activation of x [batch, time, channels].

    Args:
        x: samples, rows of which begin `lead` samples before the first; zeros are on either side.
        scale: of the activation.
        early, late, both: matrices of a row and the one after it [stride * channels, rate * out], and their sum.
        bias: [rate * out].
        stride, lead: as said.
        cut: rate: the samples that a row gives; and how many of the first and last of them are left out.
    """
    rows = rows_of(bent(x * scale), stride, lead)
    return samples_of(rows[:, :-1] @ early + rows[:, 1:] @ late + bias, cut)


def rows_of(x: Tensor, stride: int, lead: int) -> Tensor:
    """Return whole rows of `stride` samples of x between `lead` zeros on either side: [batch, rows, stride * channels]."""
    batch, time, channels = x.shape
    count = (time + 2 * lead) // stride
    return F.pad(x, (0, 0, lead, count * stride - lead - time)).reshape(batch, count, stride * channels)


def samples_of(rows: Tensor, cut: list[int]) -> Tensor:
    """Return samples [batch, time, out] of rows [batch, rows, rate * out], without the first and last ones."""
    rate, first, last = cut
    samples = rows.reshape(len(rows), rows.shape[1] * rate, -1)
    return samples[:, first : samples.shape[1] - last].clone()


@two_taps.register_fake
def _(
    x: Tensor, scale: Tensor, early: Tensor, late: Tensor, both: Tensor, bias: Tensor, stride: int, lead: int, cut: list[int]
) -> Tensor:
    count, (rate, first, last) = (x.shape[1] + 2 * lead) // stride - 1, cut
    return x.new_empty(x.shape[0], count * rate - first - last, early.shape[1] // rate)


@torch.library.custom_op("toneme::filtered", mutates_args=())
def filtered(
    x: Tensor, scale: Tensor, filters: Tensor, bias: Tensor, mixed: Tensor, mixed_bias: Tensor, dilation: int
) -> Tensor:
    """Return what `residual` does with one filter per channel [channels, 1, 7] in place of a convolution."""
    bent_x, channels = bent(x * scale).transpose(1, 2), x.shape[2]
    hidden = F.conv1d(bent_x, filters, bias, padding=REACH * dilation, dilation=dilation, groups=channels)
    return x + bent(hidden.transpose(1, 2)) @ mixed + mixed_bias


@filtered.register_fake
def _(x: Tensor, scale: Tensor, filters: Tensor, bias: Tensor, mixed: Tensor, mixed_bias: Tensor, dilation: int) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("toneme::projection", mutates_args=())
def projection(x: Tensor, scale: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    """Return a convolution [channels, 7] to one channel [batch, time, 1] of the activation of x [batch, time, channels]."""
    return F.conv1d(bent(x * scale).transpose(1, 2), taps[None], bias, padding=REACH).transpose(1, 2).clone()


@projection.register_fake
def _(x: Tensor, scale: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], 1)


# -- the graph ----------------------------------------------------------------------------------------------------


def translations() -> dict[Any, Any]:
    """Return how the exporter writes the functions: as operators that only `cut` knows."""
    first, end = _operator("dilated", 3, "dilation"), _operator("projection", 4)
    unit, thin = _operator("residual", 6, "dilation"), _operator("filtered", 6, "dilation")
    taps = _operator("two_taps", 6, "stride", "lead", "rate", "first", "last")

    def of_two(x: Any, scale: Any, early: Any, late: Any, both: Any, bias: Any, stride: int, lead: int, cut: Any) -> Any:
        rate, start, last = cut
        return taps(x, scale, early, late, both, bias, stride=stride, lead=lead, rate=rate, first=start, last=last)

    ops = torch.ops.toneme
    return {
        ops.dilated.default: lambda x, matrices, bias, dilation: first(x, matrices, bias, dilation=dilation),
        ops.residual.default: lambda x, a, b, c, d, e, dilation: unit(x, a, b, c, d, e, dilation=dilation),
        ops.filtered.default: lambda x, a, b, c, d, e, dilation: thin(x, a, b, c, d, e, dilation=dilation),
        ops.two_taps.default: of_two,
        ops.projection.default: lambda x, scale, weight, bias: end(x, scale, weight, bias),
    }


def _operator(name: str, inputs: int, *attributes: str) -> Any:
    return operator(name, [f"x{n}" for n in range(inputs)], ["y"], dict.fromkeys(attributes, INTEGER))


def cut(model: Any) -> None:
    """Write every layer of this file in a model of onnx_ir as what ONNX has, in place."""
    known: dict[Any, Samples] = {}
    layers = [node for node in model.graph if _is_ours(node)]
    for node in layers:
        _write(model.graph, node, known)
    weights = {value for node in layers for value in node.inputs if value.is_initializer()}
    for node in reversed(layers):
        model.graph.remove(node, safe=True)
    for value in weights:
        if not value.uses():
            model.graph.initializers.pop(value.name)


def _is_ours(node: Any) -> bool:
    return node.domain == DOMAIN and node.op_type in WRITERS


def _write(graph: Any, node: Any, known: dict[Any, Samples]) -> None:
    """Write a layer in front of its node, which is left to be removed."""
    outer, x, given = Writer(graph, node.name), node.inputs[0], node.outputs[0]
    ints = {name: attribute.as_int() for name, attribute in node.attributes.items()}
    seen = known[x] if x in known else Samples(x, 0, outer.Shape(x, start=1, end=2), outer.Shape(x, start=0, end=1))
    goes_on = all(_is_ours(user) for user in given.consumers()) and not given.is_graph_output()
    found = WRITERS[node.op_type](outer, goes_on, seen, *node.inputs[1:], **ints)
    if goes_on:
        known[given] = found
    else:
        first = [found.first]
        value = outer.Slice(found.whole, first, outer.Add(found.time, first), [1])
        value.shape, value.type = given.shape, given.type
        given.replace_all_uses_with(value, replace_graph_outputs=True)
    graph.insert_before(node, outer.nodes)


def _dilated(outer: Writer, zeros: bool, x: Samples, matrices: Any, bias: Any, dilation: int) -> Samples:
    taps = _Taps(matrices, bias, dilation)
    return over_blocks(outer, x, taps.spans(x), lambda body, seen, length: taps.write(seen), zeros)


def _residual(
    outer: Writer, zeros: bool, x: Samples, scale: Any, matrices: Any, bias: Any, mixed: Any, mixed_bias: Any, dilation: int
) -> Samples:
    taps = _Taps(matrices, bias, dilation)
    own = _Own(outer, dilation)

    def write(body: Writer, seen: Any, length: Any) -> Any:
        hidden = body.Bent(taps.write(body.Snake(seen, scale))(body))
        return own.added(body, seen, length, body.Gemm(hidden, mixed, mixed_bias))

    return over_blocks(outer, x, taps.spans(x), write, zeros)


def _filtered(
    outer: Writer, zeros: bool, x: Samples, scale: Any, filters: Any, bias: Any, mixed: Any, mixed_bias: Any, dilation: int
) -> Samples:
    channels, own = filters.shape[0], _Own(outer, dilation)
    # ONNX Runtime takes filters of one channel in blocks of them along the second of two axes, if their weights are beside them
    weights = [
        own_constant(f"{outer.name}.filters", filters.const_value.numpy()[:, :, None]),
        own_constant(f"{outer.name}.bias", bias.const_value.numpy()),
    ]

    def write(body: Writer, seen: Any, length: Any) -> Any:
        image = body.Transpose(body.Unsqueeze(body.Snake(seen, scale), [1]), perm=[0, 3, 1, 2])
        image = body.Conv(image, *weights, dilations=[1, dilation], group=channels)
        hidden = body.Reshape(body.Transpose(image, perm=[0, 2, 3, 1]), [-1, channels])
        return own.added(body, seen, length, body.Gemm(body.Bent(hidden), mixed, mixed_bias))

    spans = Spans(x.time, rows_in_block(channels), channels, REACH * dilation, 2 * REACH * dilation)
    return over_blocks(outer, x, spans, write, zeros, weights)


class _Own:
    """The samples of a block themselves, of all that it sees."""

    def __init__(self, outer: Writer, dilation: int) -> None:
        self.outer, self.start = outer, [REACH * dilation]

    def added(self, body: Writer, seen: Any, length: Any, product: Any) -> Any:
        """Return what adds a product to them."""
        own = body.Squeeze(body.Slice(seen, self.start, self.outer.Add(length, self.start), [1]), [0])
        return lambda writer: writer.Add(own, product)


class _Taps:
    """A dilated convolution of 7 taps in blocks."""

    def __init__(self, matrices: Any, bias: Any, dilation: int) -> None:
        self.matrices, self.bias, self.dilation = matrices, bias, dilation
        _, self.inside, self.outside = matrices.shape

    def spans(self, x: Samples) -> Spans:
        """Return what blocks give and see: as much more than they need as whole tiles are."""
        step, size = self.dilation, rows_in_block(max(self.inside, self.outside))
        return Spans(x.time, size, self.outside, REACH * step, TAPS * step, TILE * step)

    def write(self, seen: Any) -> Any:
        """Return what writes the outputs [length, out] of what a block sees [1, length + 7 dilations, in]."""
        return lambda writer: writer.ToomCook(seen, self.matrices, self.bias, dilation=self.dilation)


def _two_taps(
    outer: Writer, zeros: bool, x: Samples, scale: Any, early: Any, late: Any, both: Any, bias: Any,
    stride: int, lead: int, rate: int, first: int, last: int,
) -> Samples:  # fmt: skip
    inside, outside = early.shape
    count = outer.Sub(outer.Div(outer.Add(x.time, [2 * lead]), [stride]), [1])

    def write(body: Writer, seen: Any, length: Any) -> Any:
        pairs = body.Reshape(body.Snake(seen, scale), [-1, 2, inside])
        a, b, c = (_half(body, pairs, inside, *which) for which in ((0, 0), (0, 1), (1, 0)))
        shared = body.Gemm(b, both, bias)
        products = body.Gemm(body.Sub(a, b), early, shared), body.Gemm(body.Sub(c, b), late, shared)
        return lambda writer: writer.Concat(*products, axis=1)

    spans = Spans(
        count, rows_in_block(max(inside, outside)), outside // rate, lead, 2 * stride, 2, stride, rate, first, last
    )  # fmt: skip
    return over_blocks(outer, x, spans, write, zeros)


def _half(body: Writer, pairs: Any, inside: int, first: int, which: int) -> Any:
    """Write one of each pair of rows, from the first pair but the last, or from the second: [pairs - 1, inside]."""
    part = body.Slice(pairs, [first, which], [END if first else -1, which + 1], [0, 1])
    return body.Reshape(part, [-1, inside])


def _projection(outer: Writer, zeros: bool, x: Samples, scale: Any, taps: Any, bias: Any) -> Samples:
    weight = taps.const_value.numpy()
    channels, kernel = weight.shape
    matrix = outer.constant(f"{outer.name}.taps", weight)
    biases = outer.constant(f"{outer.name}.bias", np.append(bias.const_value.numpy(), np.zeros(kernel - 1, np.float32)))

    def write(body: Writer, seen: Any, length: Any) -> Any:
        rows = body.Reshape(body.Snake(seen, scale), [-1, channels])
        products = body.Transpose(body.Gemm(rows, matrix, biases), perm=[1, 0])
        ends = [outer.Concat([k + 1], outer.Add(length, [k]), axis=0) for k in range(kernel)]
        total, *parts, last = (body.Slice(products, [k, k], end, [0, 1]) for k, end in enumerate(ends))
        for part in parts:
            total = body.Add(total, part)
        return lambda writer: writer.Add(total, last)

    return over_blocks(outer, x, Spans(x.time, rows_in_block(channels), 1, REACH, 2 * REACH), write, zeros)


def rows_in_block(width: int) -> int:
    """Return how many rows of so many values are a block, about."""
    return max(LEAST_ROWS, min(MOST_ROWS, VALUES // width))


WRITERS = {
    "dilated": _dilated,
    "residual": _residual,
    "filtered": _filtered,
    "two_taps": _two_taps,
    "projection": _projection,
}

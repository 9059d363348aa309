"""Products over rows are the convolutions, whatever their form; in a graph each is the operator that it stands for."""

import pytest
import torch
from torch.nn import functional as F

from toneme.export import rows
from toneme.export.graph import Network, Port, build


def taps(kernel, inputs, outputs):
    generator = torch.Generator().manual_seed(kernel)
    return torch.randn(kernel, inputs, outputs, generator=generator), torch.randn(outputs, generator=generator)


def convolved(before, x, weights, bias, stride=1, dilation=1):
    joined = torch.cat([before, x], dim=1).transpose(1, 2)
    return F.conv1d(joined, weights.permute(2, 1, 0), bias, stride, 0, dilation).transpose(1, 2)


def check(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [1, 6, 40])
@pytest.mark.parametrize("stride", [1, 4])
def test_two_taps(count, stride):
    weights, bias = taps(2 * stride, 5, 3)
    two = rows.TwoTaps(weights, bias, stride, count)
    before, x = torch.randn(2, stride, 5), torch.randn(2, count * stride, 5)
    joined = torch.cat([before, x], dim=1).transpose(1, 2)
    expected = torch.nn.functional.conv1d(joined, weights.permute(2, 1, 0), bias, stride).transpose(1, 2)
    check(two(before, x), expected)
    spoilt = torch.cat([x[:, :-3], torch.full((2, 3, 5), torch.nan)], dim=1)
    check(two(before, spoilt, x[:, -3:], 3), expected)


@pytest.mark.parametrize(("width", "count", "paired"), [(200, 8, True), (200, 9, False), (200, 6, False), (20, 8, False)])
def test_pairs_are_formed_where_there_are_enough_and_their_products_are_large(width, count, paired):
    """They must lie in one unit: sums are the same wherever a stream is cut."""
    two = rows.TwoTaps(torch.zeros(2, width, width), torch.zeros(width), 1, count)
    assert (two.both is not None) == paired


@pytest.mark.parametrize("kernel", [2, 3, 7])
@pytest.mark.parametrize("samples", [1, 2, 9])
def test_a_chain_of_taps(kernel, samples):
    weights, bias = taps(kernel, 5, 3)
    before, x = torch.randn(2, kernel - 1, 5), torch.randn(2, samples, 5)
    check(rows.Chain(weights, bias)(before, x), convolved(before, x, weights, bias))


@pytest.mark.parametrize("dilation", [1, 3])
def test_windows(dilation):
    weights, bias = taps(3, 5, 4)
    before, x = torch.randn(2, 2 * dilation, 5), torch.randn(2, 4, 5)
    check(rows.Windows(weights, bias, dilation)(before, x), convolved(before, x, weights, bias, dilation=dilation))


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 6), (6, 1), (2, 2)])
def test_packets_from_few_channels_and_to_few(inputs, outputs):
    weights, bias = taps(7, inputs, outputs)
    before, x = torch.randn(2, 6, inputs), torch.randn(2, 24, inputs)
    check(rows.Packets(weights, bias, 8)(before, x), convolved(before, x, weights, bias))


def test_a_packet_divides_the_unit_and_holds_the_kernel():
    assert rows.packet(taps(7, 1, 32)[0], 320) == 8
    assert rows.packet(taps(7, 1, 32)[0], 45) == 9
    assert rows.packet(taps(7, 1, 32)[0], 17) is None
    assert rows.packet(taps(3, 32, 16)[0], 320) is None  # not few


class Products(Network):
    """All operators that are defined here."""

    takes = (Port("x", ("batch", "6*frames", 2)),)
    gives = (Port("y", ("batch", "2*frames", 3)),)

    def __init__(self):
        super().__init__()
        self.weights, self.bias = map(torch.nn.Parameter, taps(2, 6, 3))

    def run(self, inputs, states):
        y = rows.rows(inputs[0], 6)
        return (rows.affine(y, self.weights[0], self.bias) + rows.product(y, self.weights[1]),), {}


def test_the_graph_has_one_operator_each():
    onnxruntime = pytest.importorskip("onnxruntime")
    network = Products().eval()
    model = build(network, {"batch": 2, "frames": 3})
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMul") == kinds.count("Affine") == 1
    x = torch.randn(3, 30, 2)
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x.numpy()})
    with torch.no_grad():
        check(torch.from_numpy(found), network.run((x,), {})[0][0])


class Quotients(Network):
    """Strides of a length that they do not divide."""

    takes = (Port("x", ("batch", "samples", 2)),)
    gives = (Port("y", ("batch", "frames", 24)),)

    def run(self, inputs, states):
        x = inputs[0]
        for stride in (3, 2):
            x = rows.anew(rows.rows(x[:, : x.shape[1] // stride * stride], stride * x.shape[2]))
        return (rows.beside(x, x + 1),), {}


def test_a_length_may_be_a_number_of_its_own():
    onnxruntime = pytest.importorskip("onnxruntime")
    network = Quotients().eval()
    session = onnxruntime.InferenceSession(build(network, {"batch": 2, "samples": 31}).SerializeToString())
    for samples in (6, 11, 12, 100):
        x = torch.randn(3, samples, 2)
        (found,) = session.run(None, {"x": x.numpy()})
        check(torch.from_numpy(found), network.run((x,), {})[0][0])

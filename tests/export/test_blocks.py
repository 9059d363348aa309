"""Layers of a graph that run block after block: as many as they are, they give what the layers give on the whole."""

import numpy as np
import pytest
import torch

from toneme.codecs.layers.dac_blocks import DacBlocksConfig, Decoder, Encoder
from toneme.export import blocks
from toneme.export.dac_blocks import RowsDecoder, RowsEncoder
from toneme.export.graph import Network, Port, build
from toneme.export.snac_blocks import FilteredDecoder, FilteredEncoder

from .agreement import AUDIO
from .test_dac_blocks import lively

ort = pytest.importorskip("onnxruntime")

HOP = 6


class Hears(Network):
    """An encoder in a graph."""

    takes, gives = (Port("x", ("batch", 1, f"{HOP}*frames")),), (Port("y", ("batch", 16, "frames")),)

    def __init__(self, config: DacBlocksConfig) -> None:
        super().__init__()
        self.layers = Encoder(config).eval()
        lively(self.layers)
        self.encoder = (FilteredEncoder if config.depthwise else RowsEncoder)(self.layers)
        self.rows = not config.depthwise

    def run(self, inputs, states):
        latents = self.encoder(*inputs)
        return (latents.transpose(1, 2) if self.rows else latents,), states


class Sounds(Network):
    """A decoder in a graph."""

    takes, gives = (Port("x", ("batch", 16, "frames")),), (Port("y", ("batch", 1, f"{HOP}*frames")),)

    def __init__(self, config: DacBlocksConfig) -> None:
        super().__init__()
        self.layers = Decoder(config).eval()
        lively(self.layers)
        self.decoder = (FilteredDecoder if config.depthwise else RowsDecoder)(self.layers)
        self.rows = not config.depthwise

    def run(self, inputs, states):
        return (self.decoder(inputs[0].transpose(1, 2) if self.rows else inputs[0]),), states


@pytest.fixture(scope="module", params=[(Hears, False), (Hears, True), (Sounds, False), (Sounds, True)], ids=str)
def network(request) -> Network:
    kind, depthwise = request.param
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(DacBlocksConfig(4, (2, 3), 16, 16, depthwise=depthwise, noise=depthwise))


@pytest.fixture(scope="module")
def model(network):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "LEAST_ROWS", 16)
        patch.setattr(blocks, "MOST_ROWS", 16)  # less than what an output sees
        return build(network, {"batch": 2, "frames": 3})


def test_layers_are_scans_of_what_onnx_has_and_of_functions(network, model):
    layers = 2 * (3 + 1) + (2 if isinstance(network, Sounds) and not network.layers.mix else 0)
    layers += int(isinstance(network, Sounds) and network.layers.mix is not None)
    assert [node.op_type for node in model.graph.node].count("Scan") == layers
    bodies = [node.attribute[0].g for node in model.graph.node if node.op_type == "Scan"]
    others = {node.op_type for graph in (model.graph, *bodies) for node in graph.node if node.domain}
    known = {"Snake", "Bent", "Spans", "Between"} | ({"ToomCook"} if network.rows else set())
    assert others <= {function.name for function in model.functions} == known


def test_what_a_block_gives_has_two_axes_whatever_stands_before_it(model):
    """Versions of ONNX Runtime before 1.31 refuse a body behind our operators otherwise, whose shapes they do not know."""
    bodies = [
        field.g for node in model.graph.node if node.op_type == "Scan" for field in node.attribute if field.name == "body"
    ]
    for body in bodies:
        branches = [field.g for field in body.node[-1].attribute if body.node[-1].op_type == "If"]
        for graph in (body, *branches):
            assert [len(value.type.tensor_type.shape.dim) for value in graph.output] == [2]
    assert bodies


def test_only_the_last_layer_of_a_row_is_cut_to_its_length(model):
    scans = [node.op_type for node in model.graph.node].count("Scan")
    whole = {node.input[0] for node in model.graph.node if node.op_type == "Slice"}
    assert sum(node.op_type == "Reshape" and node.output[0] in whole for node in model.graph.node) < scans / 2


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("frames", [1, 5, 11, 12, 50, 97])
def test_blocks_give_what_the_whole_gives(network, model, batch, frames):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    shape = (batch, 1, HOP * frames) if isinstance(network, Hears) else (batch, 16, frames)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(frames))
    (found,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, network.layers(x).numpy(), atol=AUDIO, rtol=0)


@pytest.mark.parametrize(("width", "rows"), [(48, 2048), (192, 1365), (1024, 1024)])
def test_rows_of_a_block_are_neither_too_few_for_the_weights_nor_too_many_for_the_cache(width, rows):
    assert blocks.rows_in_block(width) == rows

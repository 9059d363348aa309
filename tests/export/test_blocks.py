"""Stretches of a graph that run block after block: as many as they are, they give what the layers give on the whole."""

import numpy as np
import pytest
import torch

from toneme.codecs.layers.dac_blocks import DacBlocksConfig, Decoder
from toneme.export import blocks
from toneme.export.graph import Network, Port, build
from toneme.export.snac_blocks import ColumnsDecoder

from .agreement import AUDIO
from .test_dac_blocks import lively

ort = pytest.importorskip("onnxruntime")


class Sounds(Network):
    """A decoder of SNAC in a graph."""

    takes, gives = (Port("x", ("batch", 16, "frames")),), (Port("y", ("batch", 1, "6*frames")),)

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = ColumnsDecoder(decoder)

    def run(self, inputs, states):
        return (self.decoder(*inputs),), states


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = Decoder(DacBlocksConfig(4, (2, 3), 16, 16, depthwise=True, noise=True)).eval()
        lively(layers)
        return layers


@pytest.fixture(scope="module")
def model(decoder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "VALUES", 256)  # blocks of 32 and 64 samples, less than their outputs see
        return build(Sounds(decoder), {"batch": 2, "frames": 3})


def test_no_mark_is_left(model):
    assert [node.op_type for node in model.graph.node].count("Scan") == 2
    assert {entry.domain for entry in model.opset_import} <= {""}
    bodies = [node.attribute[0].g for node in model.graph.node if node.op_type == "Scan"]
    assert not any(node.domain for body in bodies for node in body.node)


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("frames", [1, 5, 11, 12, 50, 97])
def test_blocks_give_what_the_whole_gives(decoder, model, batch, frames):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = torch.randn(batch, 16, frames, generator=torch.Generator().manual_seed(frames))
    (audio,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_allclose(audio, decoder(x).numpy(), atol=AUDIO, rtol=0)

"""The search and the table, in a graph of their own."""

import numpy as np
import pytest
import torch

from toneme.export.graph import Network, Port, build
from toneme.export.search import CodeTable, ResidualSearch
from toneme.kernels import rvq_encode_reference

from .agreement import check_codes, check_share


class Searched(Network):
    """Latents to codes."""

    takes = (Port("latents", ("batch", "frames", 6)),)
    gives = (Port("codes", ("batch", 3, "frames")),)

    def __init__(self, codebooks: torch.Tensor) -> None:
        super().__init__()
        self.search = ResidualSearch(codebooks)

    def run(self, inputs, states):
        return (self.search(inputs[0]),), states


@pytest.fixture(scope="module")
def codebooks() -> torch.Tensor:
    return torch.randn(3, 40, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.4, 0.2])[:, None, None]


def test_the_graph_finds_the_nearest_codes_at_any_length_and_batch(codebooks):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = build(Searched(codebooks).eval(), {"batch": 2, "frames": 3})
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for batch, frames in ((1, 1), (1, 500), (4, 30)):
        latents = torch.randn(batch, frames, 6, generator=torch.Generator().manual_seed(frames))
        (codes,) = session.run(None, {"latents": latents.numpy()})
        expected = rvq_encode_reference(latents.reshape(-1, 6), codebooks).reshape(batch, frames, 3).transpose(1, 2)
        check_share(codes, expected.numpy())
        check_codes(codes, latents.transpose(1, 2), codebooks)


def test_the_lowest_of_equal_codes_is_taken():
    codebooks = torch.tensor([[[1.0, 0], [0, 1], [1, 0]]])
    assert ResidualSearch(codebooks)(torch.tensor([[[2.0, 0.5]]])).tolist() == [[[0]]]


def test_the_table_sums_what_there_is(codebooks):
    codes = torch.tensor([[[3, -1], [7, -1]]])
    found = CodeTable(codebooks)(codes)
    torch.testing.assert_close(found[0, 0], codebooks[0, 3] + codebooks[1, 7])
    assert not found[0, 1].any()
    assert np.isfinite(found.numpy()).all()

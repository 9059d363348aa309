"""The LSTM with its skip: equal to torch's, in steps of any size, both ways."""

import pytest
import torch

from toneme.codecs.errors import ShapeError
from toneme.codecs.layers.lstm import FEW_FRAMES, SkipLSTM


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 8, 40, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("both", [True, False])
def test_it_is_torchs_plus_its_input(x: torch.Tensor, both: bool):
    torch.manual_seed(0)
    layer = SkipLSTM(8, 2, bidirectional=both)
    plain = torch.nn.LSTM(8, 8, 2, bidirectional=both)
    plain.load_state_dict(layer.state_dict())
    frames = x.permute(2, 0, 1)
    expected = plain(frames)[0] + (torch.cat([frames, frames], dim=-1) if both else frames)
    torch.testing.assert_close(layer(x), expected.permute(1, 2, 0))


@pytest.mark.parametrize("sizes", [[1] * 40, [40], [FEW_FRAMES, FEW_FRAMES + 1, 0, 15]])
def test_steps_equal_the_whole(x: torch.Tensor, sizes: list[int]):
    torch.manual_seed(0)
    layer = SkipLSTM(8)
    with torch.inference_mode():
        state, pieces = layer.initial_state(2), []
        for piece in x.split(sizes, dim=-1):
            if piece.shape[-1]:
                y, state = layer.step(piece, state)
                pieces.append(y)
        torch.testing.assert_close(torch.cat(pieces, dim=-1), layer(x), atol=1e-6, rtol=1e-5)


def test_both_ways_has_no_step(x: torch.Tensor):
    layer = SkipLSTM(8, bidirectional=True)
    with pytest.raises(ShapeError, match="whole signal"):
        layer.step(x, layer.initial_state(2))

"""The LSTM with its skip: equal to torch's, in steps of any size, both ways."""

import copy
import pickle

import pytest
import torch

from toneme.codecs.errors import ShapeError
from toneme.codecs.layers import lstm as module
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


@pytest.mark.parametrize("frames", [1, FEW_FRAMES, 40])
@pytest.mark.parametrize("batch", [1, 3])
def test_without_gradients_it_is_the_same(way: str, frames: int, batch: int):
    layer, x = SkipLSTM(24), torch.randn(batch, 24, frames)
    state = torch.rand(2, 2, batch, 24)
    wanted, after = layer.step(x, state)
    before = state.clone()
    with torch.inference_mode():
        y, new = layer.step(x, state)
    torch.testing.assert_close(y, wanted, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(new, after, atol=2e-6, rtol=1e-5)
    assert torch.equal(state, before)


def test_no_frames_change_nothing(way: str):
    layer, state = SkipLSTM(8), torch.rand(2, 2, 3, 8)
    with torch.inference_mode():
        y, after = layer.step(torch.zeros(3, 8, 0), state)
    assert y.shape == (3, 8, 0)
    assert torch.equal(after, state)


def test_long_audio_is_multiplied_in_pieces(way: str, monkeypatch: pytest.MonkeyPatch):
    layer, x = SkipLSTM(8), torch.randn(2, 8, 50)
    with torch.inference_mode():
        whole = layer(x)
        monkeypatch.setattr(module, "GATE_VALUES", 4 * 8 * 2 * 7)
        torch.testing.assert_close(layer(x), whole, atol=1e-6, rtol=1e-5)


def test_new_weights_are_used_and_copies_hold_no_packs(way: str):
    layer, x = SkipLSTM(8), torch.randn(1, 8, 20)
    with torch.no_grad():
        layer(x)
        other = copy.deepcopy(layer)
        assert "_packed" not in vars(other)
        assert "_packed" not in vars(pickle.loads(pickle.dumps(layer)))
        layer.weight_hh_l1.mul_(2)
        changed = layer(x)
        assert not torch.allclose(changed, other(x), atol=1e-4)
    with torch.enable_grad():
        torch.testing.assert_close(changed, layer(x).detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("change", ["assign", "data"])
def test_new_weights_do_not_lie_where_the_packed_ones_did(way: str, change: str):
    layer, x = SkipLSTM(96, 1), torch.randn(1, 96, 6)
    with torch.no_grad():
        for _ in range(12):
            layer(x)
            for _ in range(2):  # the first frees what the pack is of, the second may take its place
                give_new_weights(layer, change)
            assert torch.equal(layer(x), copy.deepcopy(layer)(x))


def give_new_weights(layer: SkipLSTM, change: str) -> None:
    if change == "assign":
        layer.load_state_dict({name: torch.randn(p.shape) / 5 for name, p in layer.named_parameters()}, assign=True)
    else:
        for p in layer.parameters():
            p.data = torch.randn(p.shape) / 5


def test_weights_that_are_moved_take_their_pack_along(way: str):
    layer, x = SkipLSTM(8), torch.randn(1, 8, 20)
    with torch.no_grad():
        layer(x)
    assert not [name for name in vars(layer.half()) if name.startswith("_packed")]

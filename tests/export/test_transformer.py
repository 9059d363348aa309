"""Attention over kept keys and values equals the codec's, for streams that began at different times as well."""

import pytest
import torch

from toneme.codecs.layers.transformer import Transformer, TransformerConfig
from toneme.export.convolution import Pass
from toneme.export.runtime_rings import states_after
from toneme.export.transformer import PlainTransformer

CONFIG = TransformerConfig(width=16, heads=2, layers=2, hidden=32, context=5, scale=0.5)


def run(plain, pieces, state):
    out, state = [], {name: value.clone() for name, value in state.items()}
    axes = {f"state.{name}": axis for name, (axis, _) in plain.rings("frames").items()}
    for piece in pieces:
        walk = Pass(state, torch.ones(1, 1, 1, dtype=torch.bool))
        out.append(plain(piece, walk))
        before, given = ({f"state.{name}": value.numpy() for name, value in each.items()} for each in (state, walk.after))
        after = states_after(before, given, axes)
        state = {name: torch.from_numpy(after[f"state.{name}"]) for name in state}
    return torch.cat(out, dim=1), state


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[23], [1] * 23, [3, 7, 1, 12], [4, 5, 4, 6, 4]])
def test_pieces_are_the_whole_however_often_the_ring_comes_round(sizes):
    torch.manual_seed(0)
    transformer = Transformer(CONFIG)
    plain, x = PlainTransformer(transformer), torch.randn(2, 23, 16)
    found, _ = run(plain, x.split(sizes, dim=1), plain.states(2))
    torch.testing.assert_close(found, transformer(x), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_late_stream_keeps_its_own_position():
    torch.manual_seed(0)
    transformer = Transformer(CONFIG)
    plain, x = PlainTransformer(transformer), torch.randn(1, 8, 16)
    _, old = run(plain, [torch.randn(1, 40, 16)], plain.states(1))
    fresh = plain.states(1)
    both = {name: torch.cat([old[name], fresh[name]]) for name in fresh}
    found, _ = run(plain, [x.expand(2, -1, -1)], both)
    torch.testing.assert_close(found[1:], transformer(x), atol=1e-5, rtol=0)
    assert not torch.allclose(found[:1], found[1:], atol=1e-3)


@torch.no_grad()
def test_angles_of_long_streams_lose_nothing():
    plain = PlainTransformer(Transformer(CONFIG))
    cosine, _ = plain._turn(torch.tensor([[10_000_000]]))
    exact = (torch.tensor(10_000_000.0, dtype=torch.float64) * plain.get_buffer("turns_per_frame") * 2 * torch.pi).cos()
    torch.testing.assert_close(cosine[0, 0, 0, : exact.shape[0]].double(), exact, atol=1e-6, rtol=0)

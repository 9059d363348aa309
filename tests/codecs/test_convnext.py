"""Causal ConvNeXt: explicit state, and the past does not see the future."""

import pytest
import torch

from toneme.codecs.layers.convnext import CausalStack


def stack() -> CausalStack:
    torch.manual_seed(0)
    return CausalStack(blocks=3, channels=8, kernel=7, expansion=2)


@pytest.mark.parametrize("split", [[1, 19], [10, 10], [3, 7, 10], [1] * 20])
def test_steps_joined_equal_the_whole(split):
    blocks, x = stack(), torch.randn(2, 20, 8)
    whole, _ = blocks.step(x, blocks.initial_state(2))
    state, pieces = blocks.initial_state(2), []
    for chunk in x.split(split, dim=1):
        y, state = blocks.step(chunk, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=1e-6, rtol=0)


def test_the_future_does_not_change_the_past():
    blocks, x = stack(), torch.randn(1, 20, 8)
    changed = x.clone()
    changed[:, 12:] += 1
    ours, theirs = (blocks.step(v, blocks.initial_state(1))[0] for v in (x, changed))
    torch.testing.assert_close(ours[:, :12], theirs[:, :12], atol=0, rtol=0)
    assert not torch.allclose(ours[:, 12:], theirs[:, 12:])


def test_a_block_is_its_formula():
    blocks, x = stack(), torch.randn(1, 9, 8)
    block = blocks.blocks[0]
    ours, _ = block.step(x, block.initial_state(1))
    padded = torch.cat([torch.zeros(1, 6, 8), x], 1)
    mixed = torch.stack([(padded[:, t : t + 7] * block.mix.weight[:, 0].T).sum(1) + block.mix.bias for t in range(9)], 1)
    hidden = torch.nn.functional.gelu(block.widen(block.norm(mixed)))
    torch.testing.assert_close(ours, x + block.scale * block.narrow(hidden), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 5, 40])
def test_without_gradients_it_is_the_same(way, frames):
    blocks, x = stack(), torch.randn(2, frames, 8)
    expected, state = blocks.step(x, blocks.initial_state(2))
    with torch.no_grad():
        y, after = blocks.step(x, blocks.initial_state(2))
        torch.testing.assert_close(y, expected, atol=2e-6, rtol=0)  # other orders of the same sums of sizes near one
        assert all(torch.allclose(a, b, atol=2e-6) for a, b in zip(after, state, strict=True))
        blocks.blocks[0].mix.weight.mul_(2)
        assert not torch.allclose(blocks.step(x, blocks.initial_state(2))[0], y)

"""Blocks of few operators equal the layers', however the frames are cut."""

import torch

from toneme.codecs.layers.convnext import CausalStack
from toneme.export.convnext import PlainStack


@torch.no_grad()
def test_pieces_are_the_layers():
    torch.manual_seed(0)
    stack = CausalStack(3, 8, 7, 2)
    for parameter in stack.parameters():
        parameter.normal_()
    x = torch.randn(2, 20, 8)
    expected, after = stack.step(x, stack.initial_state(2))
    plain = PlainStack(stack)
    state, found = plain.initial_state(2), []
    for piece in x[:, :, None].split([1, 3, 9, 7], dim=1):
        y, state = plain.step(piece, state)
        found.append(y)
    # sums in another order, by products that differ from processor to processor
    torch.testing.assert_close(torch.cat(found, dim=1)[:, :, 0], expected, atol=5e-5, rtol=1e-5)
    for ours, theirs in zip(state, after, strict=True):
        torch.testing.assert_close(ours[:, :, 0], theirs, atol=5e-5, rtol=1e-5)

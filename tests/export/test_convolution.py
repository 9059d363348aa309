"""Convolutions of fixed state shapes equal the layers', at the start, in the middle, and where audio ends within a unit."""

import pytest
import torch

from toneme.codecs.layers.conv import Conv1d, ConvTranspose1d
from toneme.export.convolution import Pass, PlainConv, PlainUpsampling


def steps(plain, pieces, length=None, unit=1):
    """Return the outputs of pieces [batch, channels, time] one after another; the last one holds `length` that count."""
    state, out = plain.states(1), []
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        count = torch.tensor([length if last and length is not None else piece.shape[-1]])
        walk = Pass(state, torch.full((1, 1, 1), number > 0), count, unit)
        out.append(plain(piece.transpose(1, 2), walk).transpose(1, 2))
        state = walk.after
    return torch.cat(out, dim=-1)


@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(7, 1, 1), (3, 1, 2), (8, 4, 1), (10, 5, 1)])
def test_causal_pieces_are_the_layers(mode, kernel, stride, dilation):
    torch.manual_seed(0)
    conv = Conv1d(2, 3, kernel, stride, dilation, causal=True, pad_mode=mode)
    x = torch.randn(1, 2, 60)
    with torch.no_grad():
        found = steps(PlainConv(conv, "x", 20), [x[..., :20], x[..., 20:40], x[..., 40:]], unit=20)
        torch.testing.assert_close(found, conv(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("samples", [1, 2, 3, 5, 9, 17, 19, 20])
def test_what_ends_within_a_unit_is_mirrored_there(causal, samples):
    torch.manual_seed(0)
    conv = Conv1d(1, 3, 8, 4, causal=causal)
    x = torch.randn(1, 1, samples)
    filled = torch.nn.functional.pad(x, (0, -samples % 20), value=9.0)  # what stands there must not matter
    with torch.no_grad():
        found = steps(PlainConv(conv, "x", 20), [filled], samples, unit=20)
        expected = conv(x)
    torch.testing.assert_close(found[..., : expected.shape[-1]], expected, atol=1e-6, rtol=0)


def test_upsampling_pieces_are_the_layers():
    torch.manual_seed(0)
    conv = ConvTranspose1d(4, 4, 4, 2, groups=4, causal=True)
    x = torch.randn(1, 4, 9)
    with torch.no_grad():
        found = steps(PlainUpsampling(conv, "x", 1), [x[..., :1], x[..., 1:4], x[..., 4:]])
        torch.testing.assert_close(found, conv(x), atol=1e-6, rtol=0)

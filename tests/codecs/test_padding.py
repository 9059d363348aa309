"""Padding in time equals that of EnCodec's published code, for signals shorter than the padding too."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from toneme.codecs.layers.activation import activation
from toneme.codecs.layers.padding import pad_time, surround


def published(x: Tensor, left: int, right: int, mode: str) -> Tensor:
    """`pad1d` of encodec 0.1.1."""
    if mode != "reflect":
        return F.pad(x, (left, right), mode)
    most, extra = max(left, right), 0
    if x.shape[-1] <= most:
        extra = most - x.shape[-1] + 1
        x = F.pad(x, (0, extra))
    padded = F.pad(x, (left, right), mode)
    return padded[..., : padded.shape[-1] - extra]


@pytest.mark.parametrize("mode", ["reflect", "constant", "replicate"])
@pytest.mark.parametrize("length", range(1, 7))
def test_padding_is_the_published_one(length: int, mode: str):
    x = torch.arange(1.0, 2 * length + 1).view(1, 2, length)
    for left in range(5):
        for right in range(5):
            expected = published(x, left, right, mode)
            assert torch.equal(pad_time(x, left, right, mode), expected)
            with torch.inference_mode():
                assert torch.equal(surround(x, left, right, mode), expected)
                assert torch.equal(surround(x, x[..., :0], right, mode), published(x, 0, right, mode))


@pytest.mark.parametrize("mode", ["reflect", "constant", "replicate"])
def test_an_activation_before_it_is_padded_too(mode: str):
    for length in range(1, 5):
        x, elu = torch.randn(2, 3, length), activation("elu", 3)
        for left in range(5):
            for right in range(5):
                with torch.inference_mode():
                    padded = surround(x, left, right, mode, before=elu)
                torch.testing.assert_close(padded, published(F.elu(x), left, right, mode))

"""The Vocos decoder: against its definition written out, at sizes that show every frame."""

import math

import pytest
import torch
from torch import Tensor

from toneme.codecs.errors import CheckpointError
from toneme.codecs.layers.vocos import LOUDEST, FourierHead, GlobalAttention, VocosBackbone, VocosConfig

SMALL = VocosConfig(inputs=6, width=8, hidden=12, layers=2, groups=4, window=16, hop=4)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def by_hand(head: FourierHead, features: Tensor) -> Tensor:
    """Sum of cosines, sample by sample, over every frame that reaches there."""
    out = features[0] @ head.out.weight.T + head.out.bias
    bins, frames = head.window // 2 + 1, features.shape[1]
    magnitude, phase = out[:, :bins].exp().clamp(max=LOUDEST).double(), out[:, bins:].double()
    audio = []
    for sample in range(frames * head.hop):
        total = weight = 0.0
        for frame in range(frames):
            at = sample + (head.window - head.hop) // 2 - frame * head.hop
            if not 0 <= at < head.window:
                continue
            taper = 0.5 - 0.5 * math.cos(2 * math.pi * at / head.window)
            value = sum(
                (1 if k in (0, bins - 1) else 2)
                * magnitude[frame, k]
                * torch.cos(phase[frame, k] + 2 * math.pi * k * at / head.window)
                for k in range(bins)
            )
            total, weight = total + value / head.window * taper, weight + taper**2
        audio.append(total / weight)
    return torch.stack(audio)


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_the_head_is_a_tapered_sum_of_cosines(frames: int):
    torch.manual_seed(0)
    head, features = FourierHead(8, 16, 4), noise(1, frames, 8)
    audio = head(features)
    assert audio.shape == (1, 1, frames * 4)
    torch.testing.assert_close(audio[0, 0].double(), by_hand(head, features), atol=1e-5, rtol=1e-4)


def test_a_loud_frame_is_cut_off():
    head = FourierHead(8, 16, 4)
    with torch.no_grad():
        head.out.bias[:9] = 50.0
        head.out.bias[9:] = math.pi * torch.arange(9)  # a click in the middle of each window, where the taper is 1
    loud = head(torch.zeros(1, 3, 8)).detach()
    assert loud.abs().max() > 50
    with torch.no_grad():
        head.out.bias[:9] = math.log(100)  # as published
    torch.testing.assert_close(loud, head(torch.zeros(1, 3, 8)).detach())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_before_there_are_phases(dtype: torch.dtype):
    head, features = FourierHead(8, 16, 4), noise(1, 5, 8)
    torch.testing.assert_close(head.to(dtype)(features.to(dtype)).float(), head.float()(features), atol=0.05, rtol=0.05)


def test_attention_weighs_all_frames():
    torch.manual_seed(1)
    block, x = GlobalAttention(8, 4), noise(2, 8, 5)
    y = block.norm(x)
    q, k, v = (part(y) for part in (block.q, block.k, block.v))
    weights = (q.transpose(1, 2) @ k / math.sqrt(8)).softmax(-1)
    torch.testing.assert_close(block(x), x + block.out(v @ weights.transpose(1, 2)), atol=1e-6, rtol=1e-5)


def test_the_backbone_sees_everything():
    torch.manual_seed(2)
    backbone, latents = VocosBackbone(SMALL), noise(1, 6, 40).requires_grad_()
    features = backbone(latents)
    assert features.shape == (1, 40, 8)
    features[0, 0].pow(3).sum().backward()
    assert latents.grad[0, :, 39].any()


def test_items_of_a_batch_do_not_meet():
    torch.manual_seed(3)
    backbone, latents = VocosBackbone(SMALL), noise(3, 6, 11)
    torch.testing.assert_close(backbone(latents)[1:2], backbone(latents[1:2]), atol=1e-6, rtol=1e-5)


def test_sizes_that_cannot_be_are_refused():
    for wrong in ({"window": 1300}, {"width": 100}, {"window": 6, "hop": 3}):
        with pytest.raises(CheckpointError, match="whole hops"):
            VocosConfig(**wrong)

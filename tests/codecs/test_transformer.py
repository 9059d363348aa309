"""The transformer: against attention written out, in pieces of any size, and over longer than it sees."""

import math

import pytest
import torch
from torch import Tensor

from toneme.codecs.errors import CheckpointError, ShapeError
from toneme.codecs.layers.transformer import BLOCK_FRAMES, Transformer, TransformerConfig, half_split, rotate

CONFIG = TransformerConfig(width=32, heads=4, layers=2, hidden=64, context=9)


@pytest.fixture(scope="module")
def transformer() -> Transformer:
    torch.manual_seed(0)
    model = Transformer(CONFIG).eval()
    with torch.no_grad():  # layer scales of 0.01 would hide most mistakes
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * (0.3 if weight.ndim == 2 else 0.5) + (weight.ndim == 1) * 0.5)
    return model


def noise(frames: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, frames, CONFIG.width, generator=torch.Generator().manual_seed(frames))


def by_hand(model: Transformer, x: Tensor) -> Tensor:
    """Every frame and head by itself, angle by angle, in 64 bits."""
    x, config = x.double(), model.config
    weights = {name: weight.double() for name, weight in model.state_dict().items()}

    def normed(x: Tensor, name: str) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def turned(vector: Tensor, position: int) -> Tensor:
        half = config.head // 2
        out = vector.clone()
        for n in range(half):
            angle = position * config.period ** (-n / half)
            a, b = vector[n], vector[n + half]
            out[n], out[n + half] = a * math.cos(angle) - b * math.sin(angle), a * math.sin(angle) + b * math.cos(angle)
        return out

    for layer in range(config.layers):
        stem, rows = f"layers.{layer}", []
        q, k, v = (
            (normed(x, f"{stem}.norm1")[0] @ weights[f"{stem}.qkv.weight"].T).view(-1, 3, config.heads, config.head).unbind(1)
        )
        for t in range(x.shape[1]):
            heads = []
            for h in range(config.heads):
                seen = range(max(0, t - config.context + 1), t + 1)
                scores = torch.stack([turned(q[t, h], t) @ turned(k[s, h], s) for s in seen]) / math.sqrt(config.head)
                heads.append(sum(w * v[s, h] for w, s in zip(scores.softmax(0), seen, strict=True)))
            rows.append(torch.cat(heads))
        x = x + weights[f"{stem}.scale1"] * (torch.stack(rows) @ weights[f"{stem}.out.weight"].T)
        hidden = torch.nn.functional.gelu(normed(x, f"{stem}.norm2") @ weights[f"{stem}.widen.weight"].T)
        x = x + weights[f"{stem}.scale2"] * (hidden @ weights[f"{stem}.narrow.weight"].T)
    return x


def test_it_is_the_attention_of_the_papers(transformer: Transformer):
    x = noise(13)
    torch.testing.assert_close(transformer(x).double(), by_hand(transformer, x), atol=2e-5, rtol=1e-5)  # float32 sums


@pytest.mark.parametrize("size", [1, 2, 7, 9, 30])
def test_pieces_equal_the_whole(transformer: Transformer, size: int):
    x, state, pieces = noise(61, batch=2), transformer.initial_state(2), []
    for piece in x.split(size, dim=1):
        y, state = transformer.step(piece, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=1), transformer(x), atol=1e-5, rtol=1e-5)
    assert int(state[0]) == 61


def test_a_long_signal_is_worked_on_in_blocks(transformer: Transformer):
    x = noise(2 * BLOCK_FRAMES + 3)
    whole, _ = transformer._step(x, transformer.initial_state(1))
    torch.testing.assert_close(transformer(x), whole, atol=1e-5, rtol=1e-5)


def test_a_state_can_be_gone_on_from_twice(transformer: Transformer):
    _, state = transformer.step(noise(20), transformer.initial_state(1))
    first, second = (transformer.step(noise(5), state)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_a_frame_sees_context_frames_and_no_later_one():
    torch.manual_seed(1)
    model = Transformer(TransformerConfig(width=32, heads=4, layers=1, hidden=64, context=9)).eval()
    x = noise(40).requires_grad_()
    model(x)[0, 30].sum().backward()
    moved = x.grad[0].abs().sum(-1).nonzero()[:, 0].tolist()
    assert moved == list(range(22, 31))


def test_only_distance_counts():
    torch.manual_seed(2)
    model = Transformer(CONFIG).eval()
    late = model.initial_state(1)
    late[0] = late[0] + 10**7  # four days at 25 frames a second; the frames before are not there, so theirs are zeros
    early = model.initial_state(1)
    early[0] = early[0] + CONFIG.context
    torch.testing.assert_close(model.step(noise(12), late)[0], model.step(noise(12), early)[0], atol=1e-5, rtol=1e-5)


def test_neighbours_rotate_like_halves():
    heads, width, inputs = 2, 16, 5
    weight, x = torch.randn(width, inputs), torch.randn(7, inputs)
    turn = Transformer(TransformerConfig(width=width, heads=heads))._turn(torch.tensor(3), 7, torch.float32)
    halves = rotate((x @ half_split(weight, heads).T).view(7, heads, -1).transpose(0, 1), turn)
    pairs = torch.view_as_complex((x @ weight.T).view(7, heads, -1, 2).transpose(0, 1).contiguous())
    spun = pairs * torch.complex(turn[0][:, :4], turn[1][:, 4:])
    torch.testing.assert_close(halves, torch.cat([spun.real, spun.imag], dim=-1))


def test_positions_of_long_streams_keep_their_fractions(transformer: Transformer):
    far = 2**24 + 1  # frames, 15 days of Mimi's: 32 bits know neither this number nor the fractions of its angle
    cosine, sine = transformer._turn(torch.tensor(far), 3, torch.float32)
    for frame in range(3):
        for pair in range(4):
            angle = (far + frame) * 10000 ** (-pair / 4)
            assert cosine[frame, pair].item() == pytest.approx(math.cos(angle), abs=1e-5)
            assert sine[frame, 4 + pair].item() == pytest.approx(math.sin(angle), abs=1e-5)


def test_sizes_that_cannot_be_are_refused():
    for wrong in ({"width": 30, "heads": 4}, {"width": 36, "heads": 4}, {"context": 0}):
        with pytest.raises(CheckpointError, match="pairs per head"):
            TransformerConfig(**wrong)


def test_without_causality_every_frame_sees_all_and_order_is_nothing():
    torch.manual_seed(0)
    config = TransformerConfig(16, 2, 2, 32, scale=None, norm="rms", activation="silu", causal=False, positions="none")
    model, x = Transformer(config).eval(), torch.randn(2, 9, 16)
    with torch.inference_mode():
        y = model(x)
        torch.testing.assert_close(model(x.flip(1)), y.flip(1), atol=1e-5, rtol=1e-5)
        other = x.clone()
        other[:, 8] += 1
        assert (model(other)[:, 0] - y[:, 0]).abs().max() > 1e-4
    assert not [name for name, _ in model.named_parameters() if "scale" in name]
    with pytest.raises(ShapeError, match="no step: call it on the whole"):
        model.step(x, [])


@pytest.mark.parametrize("wrong", [{"norm": "batch"}, {"activation": "relu"}, {"positions": "absolute"}, {"causal": False}])
def test_switches_that_are_none_are_refused(wrong: dict):
    with pytest.raises(CheckpointError, match=r"a transformer knows|positions must be head or none"):
        TransformerConfig(**wrong)

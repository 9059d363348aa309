"""Made tokens for the tests of token files."""

import numpy as np
import torch
from hypothesis import strategies as st

from toneme.codecs.tokens import Tokens


def make_tokens(
    frames: int = 100,
    sizes: tuple[tuple[int, ...], ...] = ((1024,) * 8,),
    ratios: tuple[int, ...] = (1,),
    rate: float = 50.0,
    batch: int = 1,
    side_period: int = 0,
    seed: int = 0,
    repeat: float = 0.0,
    skew: float = 1.0,
) -> Tokens:
    """Return tokens of pseudo-random codes; `repeat` of them equal the frame before, `skew` > 1 favours low codes."""
    rng = np.random.default_rng(seed)
    streams = tuple(
        torch.from_numpy(_codes(rng, batch, stream, frames * ratio, repeat, skew))
        for stream, ratio in zip(sizes, ratios, strict=True)
    )
    segments = -(-frames // side_period) if side_period else 0
    side = {"scale": torch.from_numpy(rng.standard_normal((batch, segments)).astype(np.float32))} if side_period else {}
    return Tokens(
        streams,
        torch.tensor([[codes.shape[2] for codes in streams]] * batch),
        torch.full((batch,), int(frames * 24000 / rate)),
        "made",
        "0123456789abcdef",
        24000,
        1,
        tuple(rate * ratio for ratio in ratios),
        sizes,
        side,
        side_period,
        {"artist": "made", "title": "Prüfung"},
    )


def _codes(rng: np.random.Generator, batch: int, sizes: tuple[int, ...], frames: int, repeat: float, skew: float) -> np.ndarray:
    chance = rng.random((batch, len(sizes), frames)) ** skew
    codes = (chance * np.array(sizes, np.int64).reshape(1, -1, 1)).astype(np.int64)
    again = rng.random(codes.shape) < repeat
    again[..., :1] = False
    source = np.maximum.accumulate(np.where(again, 0, np.arange(frames)), axis=2)
    return np.take_along_axis(codes, source, axis=2)


def assert_same(read: Tokens, written: Tokens, n_samples: bool = True) -> None:
    """Every field of two token sets is the same, bit by bit."""
    for ours, theirs in zip(read.streams, written.streams, strict=True):
        assert ours.dtype == torch.int64
        assert torch.equal(ours, theirs)
    assert torch.equal(read.lengths, written.lengths)
    assert not n_samples or torch.equal(read.n_samples, written.n_samples)
    assert read.side.keys() == written.side.keys()
    for name, values in read.side.items():
        assert torch.equal(values.view(torch.int32), written.side[name].view(torch.int32))
    fields = ("codec", "weights_hash", "sample_rate", "channels", "frame_rates", "codebook_sizes", "side_period")
    assert [getattr(read, f) for f in fields] == [getattr(written, f) for f in fields]
    assert dict(read.metadata) == dict(written.metadata)


@st.composite
def token_sets(draw: st.DrawFn) -> Tokens:
    """Tokens of any layout: codebooks of 1 to 65,536 entries, several streams, side numbers, from 0 frames up."""
    ratios = (1, *sorted(draw(st.lists(st.sampled_from((1, 2, 4, 8)), max_size=2))))
    size = st.one_of(st.sampled_from((1, 2, 3, 729, 1000, 1024, 6561, 46656, 65536)), st.integers(1, 65536))
    sizes = tuple(tuple(draw(st.lists(size, min_size=i == 0, max_size=4))) for i, _ in enumerate(ratios))
    return make_tokens(
        frames=draw(st.integers(0, 700)),
        sizes=sizes,
        ratios=ratios,
        rate=draw(st.sampled_from((12.5, 50.0, 86.1328125))),
        side_period=draw(st.sampled_from((0, 0, 1, 7, 150))),
        seed=draw(st.integers(0, 2**32)),
        repeat=draw(st.sampled_from((0.0, 0.3, 0.95, 1.0))),
        skew=draw(st.sampled_from((1.0, 3.0, 20.0))),
    )

"""A codec of torch for commands: what it writes and sounds like is what the codec says, whatever is in its tokens."""

import io

import numpy as np
import pytest
import torch

import toneme
from toneme.codecs.base import Codec
from toneme.codecs.coder import TorchCoder, check_options
from toneme.codecs.tokenfile import TokenReader, TokenWriter, read_tok

from .small_codecs import small_codec


@pytest.fixture(scope="module", params=["toneme", "snac", "encodec, segments"])
def codec(request: pytest.FixtureRequest) -> Codec:
    """A stream of codes, several at their own rates, and one with numbers beside it."""
    return small_codec(request.param)


def test_files_are_the_codecs_tokens_and_their_sound(codec: Codec):
    coder, samples = TorchCoder(codec), codec.spec.sample_rate // 2 + 13
    audio = torch.randn(codec.spec.channels, samples, generator=torch.Generator().manual_seed(0)) * 0.3
    file, encoding = io.BytesIO(), coder.encoding(codec.spec.codebooks)
    with TokenWriter(file) as writer:
        for part in audio.split(777, dim=1):
            writer.write(encoding.push(part.numpy()))
        writer.write(encoding.flush())
    assert encoding.n_samples == samples
    tokens, expected = read_tok(io.BytesIO(file.getvalue())), codec.encode(audio)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(tokens.streams, expected.streams, strict=True))
    assert int(tokens.n_samples[0]) == samples

    decoding = coder.decoding()
    with TokenReader(io.BytesIO(file.getvalue())) as reader:
        coder.check(reader.header)
        sound = np.concatenate([decoding.push(piece) for piece in reader.pieces()] + [decoding.flush()], axis=1)
    np.testing.assert_allclose(sound[:, :samples], codec.decode(tokens)[0].numpy(), atol=1e-5, rtol=0)


def test_lengths_are_the_codecs(codec: Codec):
    coder, frames = TorchCoder(codec), (8,) * len(codec.spec.streams)
    most = codec.max_samples(frames)
    assert coder.max_samples(frames) == most
    coder.check_length(most, frames)
    with pytest.raises(toneme.ShapeError, match=f"their frames stand for {most} at most"):
        coder.check_length(most + codec.spec.sample_rate + 1, frames)


def test_what_a_codec_cannot_be_told_is_named():
    check_options("made", ["seed"], ["seed", "steps"])
    with pytest.raises(toneme.ShapeError, match="made cannot be told seed when it decodes: its codes alone say"):
        check_options("made", ["seed"])
    with pytest.raises(toneme.ShapeError, match="made cannot be told guidance, speed when it decodes: it can be told steps"):
        check_options("made", ["speed", "guidance"], ["steps"])

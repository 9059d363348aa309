"""What every stream promises, shown on a codec that only counts: order of calls, lengths, shapes."""

import pytest
import torch

from toneme.codecs.encodec import EncodecCodec, EncodecConfig
from toneme.codecs.errors import CheckpointError, ShapeError
from toneme.codecs.layers.seanet import SEANetConfig


@pytest.fixture(scope="module")
def codec() -> EncodecCodec:
    torch.manual_seed(0)
    config = EncodecConfig(seanet=SEANetConfig(filters=2, dimension=4, ratios=(2, 2)), codebooks=2, codebook_size=8)
    return EncodecCodec(config, "tiny").eval()


def test_a_flushed_stream_takes_no_more(codec: EncodecCodec):
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder()
    encoder.flush()
    decoder.flush()
    for call in (lambda: encoder.push(torch.zeros(1, 1, 4)), encoder.flush, decoder.flush):
        with pytest.raises(ShapeError, match="flushed"):
            call()
    with pytest.raises(ShapeError, match="flushed"):
        decoder.push(torch.zeros(1, 2, 1, dtype=torch.int64))
    encoder.reset()
    assert encoder.push(torch.zeros(1, 1, 40)).shape == (1, 2, 10)


def test_pieces_say_what_they_hold(codec: EncodecCodec):
    encoder = codec.stream_encoder(batch=2, codebooks=1)
    tokens = encoder.push_tokens(torch.zeros(2, 1, 42))
    assert tokens.codes.shape == (2, 1, 10)
    assert tokens.lengths.tolist() == [[10], [10]]
    assert tokens.n_samples.tolist() == [0, 0]
    assert encoder.flush_tokens().n_samples.tolist() == [42, 42]


def test_audio_ends_where_it_is_told_to(codec: EncodecCodec):
    codes = torch.zeros(1, 2, 12, dtype=torch.int64)
    whole = codec.decode(codec.tokens_from_codes(codes))
    for n_samples in (0, 1, 41, 48):
        decoder = codec.stream_decoder()
        heard = torch.cat([decoder.push(codes[..., :10], n_samples), decoder.push(codes[..., 10:]), decoder.flush()], dim=-1)
        torch.testing.assert_close(heard, whole[..., :n_samples])
    decoder = codec.stream_decoder()
    assert decoder.push(codes).shape[-1] + decoder.flush(50).shape[-1] == 50
    decoder = codec.stream_decoder()
    decoder.push(codes)
    with pytest.raises(ShapeError, match="pass n_samples to push"):
        decoder.flush(10)


def test_a_stream_sounds_no_tokens_of_others(codec: EncodecCodec):
    torch.manual_seed(1)
    others, stream = EncodecCodec(codec.config, "tiny").eval(), codec.stream_decoder()
    with pytest.raises(CheckpointError, match="made by other, not by tiny"):
        stream.push(EncodecCodec(codec.config, "other").eval().encode(torch.zeros(1, 1, 8)))
    tokens = others.encode(torch.zeros(1, 1, 8))
    with pytest.raises(CheckpointError, match="any_weights"):
        stream.push(tokens)
    heard = torch.cat([stream.push(tokens, any_weights=True), stream.flush()], dim=-1)
    torch.testing.assert_close(heard, codec.decode(tokens, any_weights=True))


@pytest.mark.parametrize("n_samples", [8.0, "8", [8]])
def test_counts_of_samples_are_whole_numbers(codec: EncodecCodec, n_samples: object):
    stream, codes = codec.stream_decoder(), torch.zeros(1, 2, 2, dtype=torch.int64)
    with pytest.raises(ShapeError, match="n_samples must be a whole number"):
        stream.push(codes, n_samples)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ShapeError, match="n_samples must be a whole number"):
        stream.flush(n_samples)  # pyright: ignore[reportArgumentType]
    assert stream.flush(8).shape == (1, 1, 8), "a wrong count ends no stream"


@pytest.mark.parametrize("audio", [torch.zeros(2, 1, 8), torch.zeros(1, 2, 8), torch.zeros(8)])
def test_audio_of_another_shape_is_refused(codec: EncodecCodec, audio: torch.Tensor):
    with pytest.raises(ShapeError):
        codec.stream_encoder().push(audio)


def test_codes_out_of_range_are_refused(codec: EncodecCodec):
    for wrong in (torch.full((1, 2, 3), 8), torch.full((1, 2, 3), -1), torch.zeros(1, 3, 3).long(), torch.zeros(1, 2, 3)):
        with pytest.raises(ShapeError):
            codec.stream_decoder().push(wrong)

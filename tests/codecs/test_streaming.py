"""What every stream promises, shown on a codec that only counts: order of calls, lengths, shapes."""

import pytest
import torch

from toneme.codecs.encodec import EncodecCodec, EncodecConfig
from toneme.codecs.errors import ShapeError
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


@pytest.mark.parametrize("audio", [torch.zeros(2, 1, 8), torch.zeros(1, 2, 8), torch.zeros(8)])
def test_audio_of_another_shape_is_refused(codec: EncodecCodec, audio: torch.Tensor):
    with pytest.raises(ShapeError):
        codec.stream_encoder().push(audio)


def test_codes_out_of_range_are_refused(codec: EncodecCodec):
    for wrong in (torch.full((1, 2, 3), 8), torch.full((1, 2, 3), -1), torch.zeros(1, 3, 3).long(), torch.zeros(1, 2, 3)):
        with pytest.raises(ShapeError):
            codec.stream_decoder().push(wrong)

"""Units: what they promise at a small size, what tokens say of chunks, and that they refuse to sound."""

import dataclasses

import pytest
import torch
from torch import Tensor

from toneme.codecs.errors import ShapeError
from toneme.codecs.units import UnitsCodec

from .promises import check_saved
from .small_codecs import small_codec

pytest.importorskip("transformers", reason="units need transformers: pip install toneme[train]")
HOP = 320


@pytest.fixture(scope="module")
def codec() -> UnitsCodec:
    return small_codec("units")  # type: ignore[return-value]


def noise(samples: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(0)) * 0.3


def test_a_saved_tokenizer_codes_alike(codec: UnitsCodec, tmp_path):
    check_saved(codec, noise(4000), tmp_path)


@pytest.mark.parametrize("samples", [0, 1, 79, 80, 320, 399, 400, 3999])
def test_every_length_has_its_units(codec: UnitsCodec, samples: int):
    assert codec.encode(noise(samples)).codes.shape == (1, 1, (samples + 240) // HOP)


def test_a_batch_codes_like_its_items(codec: UnitsCodec):
    lengths, audio = [4001, 389, 0, 70, 3520], noise(4001, batch=5)
    tokens = codec.encode(audio, lengths=lengths)
    for i, length in enumerate(lengths):
        assert torch.equal(tokens[i].codes, codec.encode(audio[i : i + 1, :, :length]).codes)


@pytest.mark.parametrize("samples", [100, 20001, 64000])
def test_a_stream_codes_like_the_whole_and_both_say_in_which_chunks(codec: UnitsCodec, samples: int):
    short = UnitsCodec(dataclasses.replace(codec.config, chunk=1.0, window=6400), "small").eval()
    short.load_state_dict(codec.state_dict())
    tokens, encoder = short.encode(noise(samples)), short.stream_encoder()
    pieces = [encoder.push_tokens(piece) for piece in noise(samples).split(5001, dim=-1)] + [encoder.flush_tokens()]
    assert torch.equal(torch.cat([piece.codes for piece in pieces], dim=-1), tokens.codes)
    assert {piece.metadata["window"] for piece in [*pieces, tokens]} == {"chunk=16000 context=6400"}


def test_units_have_no_sound(codec: UnitsCodec):
    tokens = codec.encode(noise(4000))
    for sounding in (lambda: codec.decode(tokens), codec.stream_decoder):
        with pytest.raises(ShapeError, match="have no sound: choose a codec that decodes"):
            sounding()

"""Chunks of a codec that is not causal: the same codes and audio as the whole, at bounded memory."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from toneme.codecs.base import Codec, Encoded
from toneme.codecs.chunking import ChunkedDecoder, ChunkedEncoder
from toneme.codecs.errors import ShapeError
from toneme.codecs.layers.seanet import SEANetConfig, SEANetDecoder, SEANetEncoder
from toneme.codecs.spec import CodecSpec, StreamSpec
from toneme.quantizers.residual import ResidualVQ

SEANET = SEANetConfig(filters=4, dimension=8, ratios=(3, 2), causal=False, lstm=0)


@dataclass(frozen=True)
class SeeingConfig:
    seanet: SEANetConfig = field(default_factory=lambda: SEANET)


class SeeingCodec(Codec):
    """A codec of two streams, the second at half the rate, that sees both ways."""

    Config = SeeingConfig
    family = "seeing"

    def __init__(self) -> None:
        super().__init__(SeeingConfig(), "seeing")
        self.encoder, self.decoder = SEANetEncoder(SEANET), SEANetDecoder(SEANET)
        self.fine, self.coarse = ResidualVQ(8, 64, 2), ResidualVQ(8, 64, 1)

    @property
    def reach(self) -> int:
        first, last = self.encoder.span(0, 1)
        least, most = self.decoder.span(0, 11)
        return max(-first, last) + 12 + 6 * (max(-least, most) + 2)

    @property
    def spec(self) -> CodecSpec:
        streams = (StreamSpec(6, (64, 64)), StreamSpec(12, (64,)))
        return CodecSpec(600, 1, streams, causal=False, receptive_field=self.reach)

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        latents = self.encoder(waveform)
        pairs = torch.nn.functional.pad(latents, (0, latents.shape[-1] % 2)).unflatten(-1, (-1, 2)).mean(-1)
        return (self.fine.encode(latents, min(2, codebooks)), self.coarse.encode(pairs)), {}

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        slow = self.coarse.decode(streams[1]).repeat_interleave(2, dim=-1)[..., : streams[0].shape[-1]]
        return self.decoder(self.fine.decode(streams[0]) + slow)

    def stream_encoder(self, batch: int = 1, codebooks: int | None = None) -> ChunkedEncoder:
        return ChunkedEncoder(self, batch, codebooks, seconds=0.5)

    def stream_decoder(self, batch: int = 1) -> ChunkedDecoder:
        return ChunkedDecoder(self, batch, seconds=0.5)


@pytest.fixture(scope="module")
def codec() -> SeeingCodec:
    torch.manual_seed(0)
    codec = SeeingCodec().eval()
    for quantizer in (codec.fine, codec.coarse):
        quantizer.codebooks.normal_(std=0.2)
    return codec


def pieces(x: Tensor, seed: int) -> list[Tensor]:
    generator, sizes = torch.Generator().manual_seed(seed), []
    while sum(sizes) < x.shape[-1]:
        sizes.append(min(x.shape[-1] - sum(sizes), int(torch.randint(0, 700, (), generator=generator))))
    return list(x.split(sizes, dim=-1))


@pytest.mark.parametrize("samples", [0, 1, 11, 12, 300, 301, 1199, 1200, 3001, 4999])
def test_chunks_equal_the_whole(codec: SeeingCodec, samples: int):
    audio = torch.randn(2, 1, samples, generator=torch.Generator().manual_seed(samples))
    whole = codec.encode(audio)
    encoder = codec.stream_encoder(batch=2)
    found = [encoder.push_tokens(piece) for piece in pieces(audio, samples)] + [encoder.flush_tokens()]
    for stream in range(2):
        assert torch.equal(torch.cat([part.streams[stream] for part in found], dim=-1), whole.streams[stream])
    decoder = codec.stream_decoder(batch=2)
    sound = [decoder.push(part, samples) for part in found]
    sound.append(decoder.flush())
    torch.testing.assert_close(torch.cat(sound, dim=-1), codec.decode(whole), atol=1e-5, rtol=0)


def test_what_is_held_does_not_grow(codec: SeeingCodec):
    encoder, decoder, held = codec.stream_encoder(), codec.stream_decoder(), []
    for seed in range(40):
        part = encoder.push_tokens(torch.randn(1, 1, 500, generator=torch.Generator().manual_seed(seed)))
        decoder.push(part)
        held.append((encoder.held.shape[-1], decoder.held[0].shape[-1]))
    assert max(held[20:]) <= max(held[:20])


def test_less_context_than_the_receptive_field_shows(codec: SeeingCodec):
    audio = torch.randn(1, 1, 4999, generator=torch.Generator().manual_seed(0))
    encoder = ChunkedEncoder(codec, context=0, seconds=0.5)
    found = torch.cat([encoder.push(audio)[0], encoder.flush()[0]], dim=-1)
    assert not torch.equal(found, codec.encode(audio).streams[0])


def test_a_codec_that_sees_everything_needs_a_context(codec: SeeingCodec, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(SeeingCodec, "spec", CodecSpec(600, 1, (StreamSpec(6, (64,)),), causal=False))
    with pytest.raises(ShapeError, match="context"):
        ChunkedEncoder(codec)

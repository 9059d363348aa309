"""Chunks of a codec that is not causal: the same codes and audio as the whole, at bounded memory."""

import dataclasses
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from toneme.codecs.base import Codec, Encoded
from toneme.codecs.bigcodec import BigCodec, BigCodecConfig
from toneme.codecs.chunking import ChunkedDecoder, ChunkedEncoder
from toneme.codecs.dac import DacCodec, DacConfig
from toneme.codecs.errors import ShapeError
from toneme.codecs.formats import read_tokens
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.layers.seanet import SEANetConfig, SEANetDecoder, SEANetEncoder
from toneme.codecs.layers.vocos import VocosConfig
from toneme.codecs.spec import CodecSpec, StreamSpec
from toneme.codecs.speechtokenizer import SpeechTokenizerCodec, SpeechTokenizerConfig
from toneme.codecs.tokenfile import TokenWriter
from toneme.codecs.wavtokenizer import WavTokenizerCodec, WavTokenizerConfig
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


# -- the window of codecs that see everything ---------------------------------------------------------------------


def seeing_everything() -> dict[str, Codec]:
    seanet = SEANetConfig(filters=4, dimension=16, ratios=(4, 2), causal=False, bidirectional=True, lstm=1)
    vocos = VocosConfig(inputs=16, width=16, hidden=32, layers=1, groups=4, window=32, hop=8)
    blocks = DacBlocksConfig(4, (2, 5), 16, 16, activation="alias_free_snake_beta", lstm=1)
    one_way = dataclasses.replace(seanet, bidirectional=False)
    return {
        "speechtokenizer": SpeechTokenizerCodec(SpeechTokenizerConfig(8000, seanet, codebook_size=32, taught=12, window=160)),
        "wavtokenizer": WavTokenizerCodec(WavTokenizerConfig(8000, one_way, 32, vocos, chunk=0.1, window=160)),
        "bigcodec": BigCodec(BigCodecConfig(8000, blocks, 32, 4)),
    }


@pytest.mark.parametrize(
    ("name", "whole", "stream"),
    [
        ("speechtokenizer", "whole", "chunk=80000 context=160"),
        ("wavtokenizer", "whole", "chunk=800 context=160"),
        ("bigcodec", "whole", "whole"),
    ],
)
@pytest.mark.parametrize("suffix", [".tok", ".npz", ".safetensors"])
def test_tokens_and_their_files_say_how_much_audio_a_frame_heard(name, whole, stream, suffix, tmp_path):
    codec = seeing_everything()[name].eval()
    audio = torch.randn(1, 1, 1600) * 0.3
    codec.encode(audio).save(tmp_path / f"whole{suffix}")
    assert read_tokens(tmp_path / f"whole{suffix}").metadata == {"window": whole}
    encoder = codec.stream_encoder()
    with TokenWriter(tmp_path / "stream.tok") as writer:
        for piece in (*map(encoder.push_tokens, audio.split(700, dim=-1)), encoder.flush_tokens()):
            writer.write(piece)
    assert read_tokens(tmp_path / "stream.tok").metadata == {"window": stream}


def test_tokens_of_a_bounded_receptive_field_say_nothing_of_windows():
    codec = DacCodec(DacConfig(8000, DacBlocksConfig(4, (2, 4), 16, 16), 2, 16, 4)).eval()
    assert codec.encode(torch.zeros(1, 1, 800)).metadata == {}
    assert codec.stream_encoder().flush_tokens().metadata == {}

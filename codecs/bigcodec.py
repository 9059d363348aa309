"""BigCodec: 16 kHz speech as one code of 8192 eighty times a second.

Source: Xin et al., "BigCodec: Pushing the Limits of Low-Bitrate Neural Speech Codec", 2024, and its published code.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from ..quantizers.factorised import ResidualFactorisedVQ
from .base import Codec, Encoded
from .checkpoint import load_official
from .chunk_seconds import checked_seconds, chunk_units
from .layers.dac_blocks import DacBlocksConfig, Decoder, Encoder, decoder_names, encoder_names, renamed
from .layers.lstm import SkipLSTM
from .overlap import Overlap
from .spec import CodecSpec, StreamSpec
from .streaming import StreamDecoder, StreamEncoder

CHUNK = 240  # frames that are worked on at once, with those that they see on either side


@dataclass(frozen=True)
class BigCodecConfig:
    """Everything that shapes the codec.

    Attributes:
        sample_rate: Hz.
        blocks: encoder and decoder.
        codebook_size, code_dim: of the quantizer.
        always_pads: audio that fills its frames gets one more of zeros, as the published code has it.
        licence: of the weights.
    """

    sample_rate: int = 16000
    blocks: DacBlocksConfig = field(default_factory=lambda: SHAPE)
    codebook_size: int = 8192
    code_dim: int = 8
    always_pads: bool = True
    licence: str = ""


class BigCodec(Codec):
    """Audio to one stream of codes, and back.

    LSTMs on either side of the codes see all that came before; they go on from chunk to chunk, so codes are those of the whole.
    """

    Config = BigCodecConfig
    family = "bigcodec"
    chunked = True
    large = True
    config: BigCodecConfig

    def __init__(self, config: BigCodecConfig, name: str = "") -> None:
        super().__init__(config, name)
        self.encoder = Encoder(config.blocks)
        self.quantizer = ResidualFactorisedVQ(config.blocks.latent, config.codebook_size, 1, config.code_dim)
        self.decoder = Decoder(config.blocks)

    @property
    def spec(self) -> CodecSpec:
        config = self.config
        stream = StreamSpec(config.blocks.hop, (config.codebook_size,), ("acoustic",))
        ahead = 2 * (self._awaited(CHUNK) - stream.hop)
        return CodecSpec(config.sample_rate, 1, (stream,), causal=False, lookahead=ahead, licence=config.licence)

    def n_frames(self, n_samples: int) -> tuple[int, ...]:
        """Return the frames for audio of `n_samples`, the one that is always added included."""
        hop = self.spec.hop
        return (n_samples // hop + 1 if n_samples and self.config.always_pads else -(-n_samples // hop),)

    @property
    def reach(self) -> int:
        """Samples on either side that change what enters the LSTMs, or what is made of that."""
        return replace(self.config.blocks, lstm=0).reach or 0

    @property
    def context(self) -> int:
        """Frames of that reach."""
        return -(-self.reach // self.config.blocks.hop)

    def _awaited(self, chunk: int) -> int:
        """Return the samples before the first frame comes out: of chunks for the LSTM, until it has given what follows one."""
        follows = self.context + 1
        return (-(-(chunk + follows) // chunk) * chunk + follows) * self.config.blocks.hop

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        encoder = LstmEncoder(self, waveform.shape[0], codebooks)
        ((start,), _), ((end,), _) = encoder._push(waveform), encoder._flush()
        return (torch.cat([start, end], dim=-1),), {}

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        decoder = LstmDecoder(self, streams[0].shape[0])
        return torch.cat([decoder._push(streams, side), decoder._flush()], dim=-1)

    def stream_encoder(self, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None) -> StreamEncoder:
        """Return an encoder of audio in pieces: chunks, each waiting for what follows it as far as convolutions see."""
        return LstmEncoder(self, batch, codebooks, chunk_seconds)

    def stream_decoder(self, batch: int = 1, chunk_seconds: float | None = None) -> StreamDecoder:
        """Return a decoder of frames in pieces: chunks, each waiting for what follows it as far as convolutions see."""
        return LstmDecoder(self, batch, chunk_seconds)


class LstmEncoder(StreamEncoder):
    """Codes long audio in chunks, each from where the LSTM stood before it: codes are those of the whole."""

    codec: BigCodec

    def __init__(
        self, codec: BigCodec, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None
    ) -> None:
        self.chunk = _frames(codec, chunk_seconds)
        super().__init__(codec, batch, codebooks)

    @property
    def latency(self) -> int:
        return self.codec._awaited(self.chunk)

    def _reset(self) -> None:
        encoder, context = self.codec.encoder, self.codec.context
        self.front = Overlap(encoder.front, self.codec.spec.hop, 1, context, self.chunk)
        self.middle = Middle(cast("SkipLSTM | None", encoder.middle), self.batch)
        self.back = Overlap(encoder.back, 1, 1, context, self.chunk)
        self.taken = 0

    def _push(self, waveform: Tensor) -> Encoded:
        self.taken += waveform.shape[-1]
        return self._code(waveform, last=False)

    def _flush(self) -> Encoded:
        missing = self.codec.n_frames(self.taken)[0] * self.codec.spec.hop - self.taken
        return self._code(torch.zeros(self.batch, 1, missing, device=self.codec.device, dtype=self.codec.dtype), last=True)

    def _code(self, waveform: Tensor, last: bool) -> Encoded:
        codes = list(self.codec._empty(self.batch, self.codebooks)[0])
        for frames, ends in self.middle.run(self.front.push(waveform, last), last):
            codes += [self.codec.quantizer.encode(part, self.codebooks) for part in self.back.push(frames, ends)]
        return (torch.cat(codes, dim=-1),), {}


class LstmDecoder(StreamDecoder):
    """Sounds long codes in chunks, each from where the LSTM stood before it: the audio is that of the whole."""

    codec: BigCodec

    def __init__(self, codec: BigCodec, batch: int = 1, chunk_seconds: float | None = None) -> None:
        self.chunk = _frames(codec, chunk_seconds)
        super().__init__(codec, batch)

    @property
    def latency(self) -> int:
        return self.codec._awaited(self.chunk)

    def _reset(self) -> None:
        decoder, context = self.codec.decoder, self.codec.context
        self.front = Overlap(decoder.front, 1, 1, context, self.chunk)
        self.middle = Middle(cast("SkipLSTM | None", decoder.middle), self.batch)
        self.back = Overlap(decoder.back, 1, self.codec.spec.hop, context, self.chunk)

    def _push(self, streams: tuple[Tensor, ...], side: dict[str, Tensor]) -> Tensor:
        return self._sound(streams[0], last=False)

    def _flush(self) -> Tensor:
        return self._sound(torch.zeros(self.batch, 1, 0, device=self.codec.device, dtype=torch.int64), last=True)

    def _sound(self, codes: Tensor, last: bool) -> Tensor:
        audio = [torch.zeros(self.batch, 1, 0, device=self.codec.device, dtype=self.codec.dtype)]
        for frames, ends in self.middle.run(self.front.push(self.codec.quantizer.decode(codes), last), last):
            audio += self.back.push(frames, ends)
        return torch.cat(audio, dim=-1)


def _frames(codec: BigCodec, chunk_seconds: float | None) -> int:
    """Return the frames of a chunk."""
    if chunk_seconds is None:
        return CHUNK
    return chunk_units(checked_seconds(chunk_seconds), codec.config.sample_rate, codec.config.blocks.hop)


class Middle:
    """The LSTM, which goes on from piece to piece."""

    def __init__(self, lstm: SkipLSTM | None, batch: int) -> None:
        self.lstm, self.state = lstm, torch.empty(0) if lstm is None else lstm.initial_state(batch)

    def run(self, pieces: list[Tensor], last: bool) -> Iterator[tuple[Tensor, bool]]:
        """Yield the output of each piece, and whether nothing comes after it."""
        for n, piece in enumerate(pieces):
            if self.lstm is not None:
                piece, self.state = self.lstm.step(piece, self.state)
            yield piece, last and n == len(pieces) - 1


# -- official weights -------------------------------------------------------------------------------------------


def convert_bigcodec(weights: Mapping[str, Tensor]) -> BigCodec:
    """Return the codec with official weights, the published file's two parts under `CodecEnc.` and `generator.`.

    Raises:
        CheckpointError: if keys are missing, unexpected or of another shape.
    """
    codec = BigCodec(CONFIGS["bigcodec"], "bigcodec")
    blocks, names = codec.config.blocks, {}
    for part, table in (
        ("encoder", encoder_names(blocks, "CodecEnc.block")), ("decoder", decoder_names(blocks, "generator.model"))
    ):  # fmt: skip
        for ours, theirs in renamed(getattr(codec, part), table).items():
            names[f"{part}.{ours}"] = _published(ours, theirs)
    for ours in codec.quantizer.state_dict():
        theirs = ours.replace("stages.", "layers.").replace(".enter.", ".in_proj.").replace(".leave.", ".out_proj.")
        names[f"quantizer.{ours}"] = "generator.quantizer." + theirs.replace(".codebook", "._codebook.weight")
    load_official(codec, weights, (names,), "the checkpoint of bigcodec", r"\.(up|down)sample\.")
    return codec.eval()


def _published(ours: str, theirs: str) -> str:
    stem, end = theirs.rsplit(".", 1)
    if end in ("alpha", "beta"):
        return f"{stem}.act.{end}"
    return f"{stem}.lstm.{end}" if ours.startswith("middle.") else theirs


SHAPE = DacBlocksConfig(48, (2, 2, 2, 5, 5), 1024, 1536, activation="alias_free_snake_beta", lstm=2)
CONFIGS = {"bigcodec": BigCodecConfig(licence="CC-BY-SA-4.0")}
OFFICIAL: dict[str, Callable[[Mapping[str, Tensor]], BigCodec]] = {"bigcodec": convert_bigcodec}

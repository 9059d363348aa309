"""EnCodec at 24 kHz (mono, causal) and 48 kHz (stereo, in segments of one second that overlap by a hundredth).

Source: Défossez et al., "High Fidelity Neural Audio Compression", 2022, and its published code and checkpoints.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..quantizers.residual import ResidualVQ
from .base import Codec, Encoded
from .checkpoint import load_official
from .chunk_seconds import check_fixed
from .errors import CheckpointError, ShapeError
from .layers.seanet import SEANetConfig, SEANetDecoder, SEANetEncoder
from .layers.seanet_names import decoder_names, encoder_names
from .spec import CodecSpec, StreamSpec
from .streaming import StreamDecoder, StreamEncoder

PIECE_FRAMES = 1500  # frames of a causal codec worked on at once: what a whole file and a long push have in common
SEGMENTS = 8  # segments worked on at once


@dataclass(frozen=True)
class EncodecConfig:
    """Everything that shapes the codec.

    Attributes:
        sample_rate: Hz.
        seanet: encoder and decoder.
        codebooks, codebook_size: of the residual quantizer.
        segment: samples of a segment that is coded by itself, 0 for none; each is scaled to unit level, and its level kept.
        segment_stride: samples from the start of one segment to the next.
        licence: of the weights.
    """

    sample_rate: int = 24000
    seanet: SEANetConfig = field(default_factory=SEANetConfig)
    codebooks: int = 32
    codebook_size: int = 1024
    segment: int = 0
    segment_stride: int = 0
    licence: str = ""

    def __post_init__(self) -> None:
        if bool(self.segment) == self.seanet.causal or self.segment % self.seanet.hop:
            raise CheckpointError(
                f"EnCodec is causal without segments, or has segments of whole frames; got a segment of {self.segment} samples"
            )

    @property
    def segment_frames(self) -> int:
        """Frames of a whole segment."""
        return self.segment // self.seanet.hop


class EncodecCodec(Codec):
    """Audio to residual codes of a SEANet encoder's latents, and back through its decoder."""

    Config = EncodecConfig
    family = "encodec"
    config: EncodecConfig

    def __init__(self, config: EncodecConfig, name: str = "") -> None:
        super().__init__(config, name)
        self.encoder = SEANetEncoder(config.seanet)
        self.quantizer = ResidualVQ(config.seanet.dimension, config.codebook_size, config.codebooks)
        self.decoder = SEANetDecoder(config.seanet)

    @property
    def spec(self) -> CodecSpec:
        config, hop = self.config, self.config.seanet.hop
        stream = StreamSpec(hop, (config.codebook_size,) * config.codebooks, ("acoustic",) * config.codebooks)
        common = {"streams": (stream,), "licence": config.licence}
        if config.seanet.causal:
            return CodecSpec(config.sample_rate, config.seanet.channels, causal=True, **common)
        return CodecSpec(
            config.sample_rate, config.seanet.channels, causal=False, lookahead=config.segment - hop,
            receptive_field=config.segment, nominal_frame_rate=config.sample_rate / hop,
            side=("scale",), side_period=config.segment_frames, **common,
        )  # fmt: skip

    # -- frames and samples -------------------------------------------------------------------------------------

    def n_frames(self, n_samples: int) -> tuple[int, ...]:
        """Return the frames for audio of `n_samples`: those of every segment, ends that overlap counted twice."""
        if not self.config.segment:
            return super().n_frames(n_samples)
        config, starts = self.config, range(0, n_samples, self.config.segment_stride)
        return (sum(-(-min(n_samples - start, config.segment) // config.seanet.hop) for start in starts),)

    def max_samples(self, n_frames: tuple[int, ...]) -> int:
        """Return the most samples that so many frames can stand for."""
        config, hop = self.config, self.config.seanet.hop
        if not config.segment or not n_frames[0]:
            return super().max_samples(n_frames)
        before = (n_frames[0] - 1) // config.segment_frames
        return before * config.segment_stride + (n_frames[0] - before * config.segment_frames) * hop

    # -- encode and decode --------------------------------------------------------------------------------------

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        encoder = self.stream_encoder(waveform.shape[0], codebooks)
        (start,), first = encoder._push(waveform)
        (end,), last = encoder._flush()
        side = {name: torch.cat([first[name], last[name]], dim=-1) for name in first}
        return (torch.cat([start, end], dim=-1),), side

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        decoder = self.stream_decoder(streams[0].shape[0])
        return torch.cat([decoder._push(streams, side), decoder._flush()], dim=-1)

    def stream_encoder(self, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None) -> StreamEncoder:
        """Return an encoder of audio in pieces: the causal codec's waits for 7 frames once, the other's for whole segments."""
        if self.config.segment:
            self._check_fixed(chunk_seconds)
            return SegmentEncoder(self, batch, codebooks)
        return CausalEncoder(self, batch, codebooks, chunk_seconds)

    def stream_decoder(self, batch: int = 1, chunk_seconds: float | None = None) -> StreamDecoder:
        """Return a decoder of frames in pieces: the causal codec's waits for 7 frames once, the other's for whole segments."""
        if self.config.segment:
            self._check_fixed(chunk_seconds)
            return SegmentDecoder(self, batch)
        return CausalDecoder(self, batch, chunk_seconds)

    def _check_fixed(self, chunk_seconds: float | None) -> None:
        check_fixed(self.name, chunk_seconds, self.config.segment / self.config.sample_rate)


class CausalEncoder(StreamEncoder):
    """Codes every frame as soon as its last sample is there, save that the first frames come together.

    The padding at the start mirrors the first samples, so the first frames are certain only once `start_frames` are there.
    """

    codec: EncodecCodec

    def _reset(self) -> None:
        self.state = self.codec.encoder.initial_state(self.batch)
        self.waiting = torch.zeros(self.batch, self.codec.spec.channels, 0, device=self.codec.device, dtype=self.codec.dtype)
        self.needed = self.codec.encoder.start_frames

    @property
    def latency(self) -> int:
        return self.codec.encoder.start_frames * self.codec.spec.hop

    def _push(self, waveform: Tensor) -> Encoded:
        waiting = torch.cat([self.waiting, waveform], dim=-1) if self.waiting.shape[-1] else waveform
        ready = waiting.shape[-1] // self.codec.spec.hop
        if ready < self.needed or not ready:
            self.waiting = waiting
            return (_no_codes(self),), {}
        self.needed = 0
        ready *= self.codec.spec.hop
        self.waiting = waiting[..., ready:].clone()
        return (self._code(waiting[..., :ready], final=False),), {}

    def _flush(self) -> Encoded:
        return (self._code(self.waiting, final=True) if self.waiting.shape[-1] else _no_codes(self),), {}

    def _code(self, waveform: Tensor, final: bool) -> Tensor:
        codes, pieces = [], _pieces(waveform, PIECE_FRAMES * self.codec.spec.hop)
        for number, piece in enumerate(pieces):
            latents, self.state = self.codec.encoder.step(piece, self.state, final and number == len(pieces) - 1)
            codes.append(self.codec.quantizer.encode(latents, self.codebooks))
        return torch.cat(codes, dim=-1)


class CausalDecoder(StreamDecoder):
    """Sounds every frame at once, save that the first ones come together, as in the encoder."""

    codec: EncodecCodec

    def _reset(self) -> None:
        self.state = self.codec.decoder.initial_state(self.batch)
        self.waiting: Tensor | None = None
        self.needed = self.codec.decoder.start_frames

    @property
    def latency(self) -> int:
        return self.codec.decoder.start_frames * self.codec.spec.hop

    def _push(self, streams: tuple[Tensor, ...], side: dict[str, Tensor]) -> Tensor:
        codes = streams[0] if self.waiting is None else torch.cat([self.waiting, streams[0]], dim=-1)
        if codes.shape[-1] < self.needed or not codes.shape[-1]:
            self.waiting = codes
            return _no_audio(self)
        self.waiting, self.needed = None, 0
        return self._sound(codes, final=False)

    def _flush(self) -> Tensor:
        if self.waiting is None or not self.waiting.shape[-1]:
            return _no_audio(self)
        return self._sound(self.waiting, final=True)

    def _sound(self, codes: Tensor, final: bool) -> Tensor:
        pieces = []
        for piece in _pieces(codes, PIECE_FRAMES):
            audio, self.state = self.codec.decoder.step(self.codec.quantizer.decode(piece), self.state, final)
            pieces.append(audio)
        return torch.cat(pieces, dim=-1)


class SegmentEncoder(StreamEncoder):
    """Codes segment after segment, each scaled to unit level; "scale" [batch, segments] are the levels."""

    codec: EncodecCodec

    @property
    def latency(self) -> int:
        return self.codec.config.segment

    def _reset(self) -> None:
        self.waiting = torch.zeros(self.batch, self.codec.spec.channels, 0, device=self.codec.device, dtype=self.codec.dtype)

    def _push(self, waveform: Tensor) -> Encoded:
        config = self.codec.config
        waiting = torch.cat([self.waiting, waveform], dim=-1) if self.waiting.shape[-1] else waveform
        whole = max(0, (waiting.shape[-1] - config.segment) // config.segment_stride + 1)
        self.waiting = waiting[..., whole * config.segment_stride :].clone()
        if not whole:
            return (_no_codes(self),), {"scale": waveform.new_zeros(self.batch, 0)}
        return self._code(waiting.unfold(-1, config.segment, config.segment_stride)[:, :, :whole])

    def _flush(self) -> Encoded:
        parts, stride = [], self.codec.config.segment_stride
        for start in range(0, self.waiting.shape[-1], stride):
            parts.append(self._code(self.waiting[..., start : start + self.codec.config.segment].unsqueeze(2)))
        codes = [codes for (codes,), _ in parts] or [_no_codes(self)]
        scales = [side["scale"] for _, side in parts] or [self.waiting.new_zeros(self.batch, 0)]
        return (torch.cat(codes, dim=-1),), {"scale": torch.cat(scales, dim=-1)}

    def _code(self, segments: Tensor) -> Encoded:
        """Code segments [batch, channels, segments, samples] of one length."""
        mono = segments.contiguous().mean(1)
        scale = 1e-8 + mono.square().mean(-1).sqrt()  # [batch, segments]
        codes = []
        for part, level in zip(segments.split(SEGMENTS, dim=2), scale.split(SEGMENTS, dim=1), strict=True):
            flat = (part / level[:, None, :, None]).transpose(1, 2).flatten(0, 1)
            found = self.codec.quantizer.encode(self.codec.encoder(flat), self.codebooks)
            codes.append(found.unflatten(0, level.shape).transpose(1, 2).flatten(2))
        return (torch.cat(codes, dim=-1),), {"scale": scale}


class SegmentDecoder(StreamDecoder):
    """Sounds segment after segment, each faded over the ends it shares with its neighbours.

    A segment before the last may lack a frame: audio that ends at most half a frame behind it leaves one frame for the last,
    and the two look like one whole segment but for their two levels.
    """

    codec: EncodecCodec

    @property
    def latency(self) -> int:
        return self.codec.config.segment

    def _reset(self) -> None:
        like = {"device": self.codec.device, "dtype": self.codec.dtype}
        self.waiting = torch.zeros(self.batch, 0, 0, device=self.codec.device, dtype=torch.int64)
        self.scale = torch.zeros(self.batch, 0, **like)
        self.fade: Tensor | None = None
        # the sum of faded segments and the sum of their weights, from the start of the next segment on
        self.sound = torch.zeros(self.batch, self.codec.spec.channels, 0, **like)
        self.weight = torch.zeros(0, **like)

    def _push(self, streams: tuple[Tensor, ...], side: dict[str, Tensor]) -> Tensor:
        frames = self.codec.config.segment_frames
        codes = torch.cat([self.waiting, streams[0]], dim=-1) if self.waiting.shape[-1] else streams[0]
        if "scale" in side:
            self.scale = torch.cat([self.scale, side["scale"].to(self.scale)], dim=-1)
        whole = codes.shape[-1] // frames
        if codes.shape[-1] == whole * frames and self.scale.shape[-1] > whole:
            whole -= 1
        self.waiting = codes[..., whole * frames :]
        pieces = [_no_audio(self)]
        for start in range(0, whole, SEGMENTS):
            part = codes[..., start * frames : min(whole, start + SEGMENTS) * frames]
            pieces += [self._join(audio) for audio in self._sound(part.unflatten(-1, (-1, frames)))]
        return torch.cat(pieces, dim=-1)

    def _flush(self) -> Tensor:
        rest = self.waiting.shape[-1]
        pieces, parts = [_no_audio(self)], [rest] if rest else []
        if rest == self.codec.config.segment_frames and self.scale.shape[-1] == 2:
            parts = [rest - 1, 1]
        for codes in self.waiting.split(parts, dim=-1) if parts else ():
            pieces += [self._join(audio) for audio in self._sound(codes.unsqueeze(2))]
        return torch.cat([*pieces, self.sound / self.weight], dim=-1)

    def _sound(self, codes: Tensor) -> list[Tensor]:
        """Return the audio [batch, channels, samples] of each segment of codes [batch, codebooks, segments, frames]."""
        count = codes.shape[2]
        if self.scale.shape[-1] < count:
            raise ShapeError(
                f"{self.codec.name} needs every segment's level to decode: pass Tokens, or side={{'scale': [batch, segments]}}"
            )
        latents = self.codec.quantizer.decode(codes.transpose(1, 2).flatten(0, 1))
        audio = self.codec.decoder(latents).unflatten(0, (self.batch, count))
        audio = audio * self.scale[:, :count, None, None]
        self.scale = self.scale[:, count:]
        return list(audio.unbind(1))

    def _join(self, audio: Tensor) -> Tensor:
        """Add a segment onto the end of the one before, and return what no later segment changes."""
        if self.fade is None:
            self.fade = _triangle(audio)
        weight, kept = self.fade[: audio.shape[-1]], self.weight.shape[0]
        short = max(0, kept - audio.shape[-1])
        sound, weight = (pad(part, (0, short)) for part in (audio * weight, weight))
        sound[..., :kept] += self.sound
        weight[:kept] += self.weight
        stride = self.codec.config.segment_stride
        self.sound, self.weight = sound[..., stride:], weight[stride:]
        return sound[..., :stride] / weight[:stride]


def _triangle(audio: Tensor) -> Tensor:
    """Return the weight of each sample of a segment: up to a half in the middle, never zero."""
    time = torch.linspace(0, 1, audio.shape[-1] + 2, device=audio.device)[1:-1]
    return (0.5 - (time - 0.5).abs()).to(audio.dtype)  # in 16 bits the ends would round to zero


def _pieces(x: Tensor, size: int) -> tuple[Tensor, ...]:
    """Return x in pieces of `size`, the last one up to twice that, so that no piece is a mere rest."""
    count = max(1, x.shape[-1] // size)
    return tuple(x.split([size] * (count - 1) + [x.shape[-1] - (count - 1) * size], dim=-1))


def _no_codes(stream: StreamEncoder) -> Tensor:
    return stream.codec._empty(stream.batch, stream.codebooks)[0][0]


def _no_audio(stream: StreamDecoder) -> Tensor:
    codec = stream.codec
    return torch.zeros(stream.batch, codec.spec.channels, 0, device=codec.device, dtype=codec.dtype)


def convert_encodec(weights: Mapping[str, Tensor], name: str) -> EncodecCodec:
    """Return the codec `name` with official weights, named as in the published checkpoint or as in transformers.

    Raises:
        CheckpointError: if keys are missing, unexpected or of another shape.
    """
    config = CONFIGS[name]
    codec = EncodecCodec(config, name)
    names: dict[str, str | tuple[str, ...]] = {}
    for side, table in (("encoder", encoder_names(config.seanet)), ("decoder", decoder_names(config.seanet))):
        names |= {f"{side}.{ours}": f"{side}.{theirs}" for ours, theirs in table.items()}
    names["quantizer.codebooks"] = tuple(f"quantizer.vq.layers.{n}._codebook.embed" for n in range(config.codebooks))
    renamed = {ours: _transformers(theirs) for ours, theirs in names.items()}
    load_official(codec, weights, (names, renamed), f"the checkpoint of {name}", STATISTICS)
    return codec.eval()


def _transformers(names: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if isinstance(names, tuple):
        return tuple(name.replace("quantizer.vq.", "quantizer.").replace("._codebook.", ".codebook.") for name in names)
    name = re.sub(r"\.(conv|convtr)\.\1\.", ".conv.", names.replace(".model.", ".layers."))
    return re.sub(r"\.(conv|convtr)\.norm\.", ".norm.", name)


STATISTICS = r"codebook\.(inited|cluster_size|embed_avg)$"  # of training, in the checkpoints, of no use to a codec
CONFIGS = {
    "encodec_24khz": EncodecConfig(),
    "encodec_48khz": EncodecConfig(
        sample_rate=48000,
        seanet=SEANetConfig(channels=2, causal=False, norm="time_group_norm"),
        codebooks=16,
        segment=48000,
        segment_stride=47520,
    ),
}
OFFICIAL: dict[str, Callable[[Mapping[str, Tensor]], EncodecCodec]] = {
    "encodec_24khz": lambda weights: convert_encodec(weights, "encodec_24khz"),
    "encodec_48khz": lambda weights: convert_encodec(weights, "encodec_48khz"),
}

"""BigCodec: 16 kHz speech as one code of 8192 eighty times a second.

Source: Xin et al., "BigCodec: Pushing the Limits of Low-Bitrate Neural Speech Codec", 2024, and its published code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..quantizers.factorised import ResidualFactorisedVQ
from .base import Codec, Encoded, config_from_dict
from .checkpoint import load_official
from .layers.dac_blocks import DacBlocksConfig, Decoder, Encoder, decoder_names, encoder_names, renamed
from .spec import CodecSpec, StreamSpec
from .streaming import StreamDecoder, StreamEncoder


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

    def __post_init__(self) -> None:
        if isinstance(self.blocks, Mapping):  # as it comes from config.json
            object.__setattr__(self, "blocks", config_from_dict(DacBlocksConfig, dict(self.blocks)))


class BigCodec(Codec):
    """Audio to one stream of codes, and back; LSTMs see all that came before, so audio is worked on as a whole."""

    Config = BigCodecConfig
    family = "bigcodec"
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
        return CodecSpec(config.sample_rate, 1, (stream,), causal=False, licence=config.licence)

    def n_frames(self, n_samples: int) -> tuple[int, ...]:
        """Return the frames for audio of `n_samples`, the one that is always added included."""
        hop = self.spec.hop
        return (n_samples // hop + 1 if n_samples and self.config.always_pads else -(-n_samples // hop),)

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        samples = waveform.shape[-1]
        padded = pad(waveform, (0, self.n_frames(samples)[0] * self.spec.hop - samples))
        return (self.quantizer.encode(self.encoder(padded), codebooks),), {}

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        return self.decoder(self.quantizer.decode(streams[0]))

    def stream_encoder(self, batch: int = 1, codebooks: int | None = None) -> StreamEncoder:
        """Return an encoder of audio in pieces: all codes come at the flush, since what follows changes them."""
        return WholeEncoder(self, batch, codebooks)

    def stream_decoder(self, batch: int = 1) -> StreamDecoder:
        """Return a decoder of frames in pieces: all audio comes at the flush."""
        return WholeDecoder(self, batch)


class WholeEncoder(StreamEncoder):
    """Keeps the audio until its end."""

    def _reset(self) -> None:
        self.held: list[Tensor] = []

    def _push(self, waveform: Tensor) -> Encoded:
        self.held.append(waveform.clone())
        return self.codec._empty(self.batch, self.codebooks)

    def _flush(self) -> Encoded:
        if not self.n_samples:
            return self.codec._empty(self.batch, self.codebooks)
        return self.codec._encode(torch.cat(self.held, dim=-1), self.codebooks)


class WholeDecoder(StreamDecoder):
    """Keeps the codes until their end."""

    def _reset(self) -> None:
        self.held: list[Tensor] = []

    def _push(self, streams: tuple[Tensor, ...], side: dict[str, Tensor]) -> Tensor:
        self.held.append(streams[0].clone())
        return self._silence()

    def _flush(self) -> Tensor:
        codes = torch.cat(self.held, dim=-1) if self.held else None
        return self._silence() if codes is None or not codes.shape[-1] else self.codec._decode((codes,), {}, 0)

    def _silence(self) -> Tensor:
        return torch.zeros(self.batch, 1, 0, device=self.codec.device, dtype=self.codec.dtype)


# -- official weights -------------------------------------------------------------------------------------------


def convert_bigcodec(weights: Mapping[str, Tensor]) -> BigCodec:
    """Return the codec with official weights, the published file's two parts under `CodecEnc.` and `generator.`.

    Raises:
        CheckpointError: if keys are missing, unexpected or of another shape.
    """
    codec = BigCodec(BigCodecConfig(licence="MIT"), "bigcodec")
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
OFFICIAL: dict[str, Callable[[Mapping[str, Tensor]], BigCodec]] = {"bigcodec": convert_bigcodec}

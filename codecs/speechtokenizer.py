"""SpeechTokenizer and DM-Codec: speech at 50 frames a second, the first of eight codebooks taught by a speech model.

DM-Codec is the same network, taught by a text model as well.

Sources: Zhang et al., "SpeechTokenizer: Unified Speech Tokenizer for Speech Language Models", 2023; Ahasan et al., "DM-Codec:
Distilling Multimodal Representations for Speech Tokenization", 2024; and their published code and checkpoints.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..quantizers.residual import ResidualVQ
from .base import Encoded
from .checkpoint import load_official
from .chunked import ChunkedCodec
from .chunking import awaited
from .layers.seanet import SEANetConfig, SEANetDecoder, SEANetEncoder
from .layers.seanet_names import decoder_names, encoder_names
from .spec import CodecSpec, StreamSpec

ELU = SEANetConfig(dimension=1024, filters=64, causal=False, bidirectional=True)
SNAKE = SEANetConfig(dimension=1024, filters=64, causal=False, bidirectional=True, activation="snake")


@dataclass(frozen=True)
class SpeechTokenizerConfig:
    """Everything that shapes the codec.

    Attributes:
        sample_rate: Hz.
        seanet: encoder, whose LSTM runs both ways, and decoder.
        codebooks, codebook_size: of the residual quantizer; the first codebook is semantic.
        taught: width of the speech model's features that the first codebook was taught by.
        window: samples on either side that a chunk of long audio sees, since the LSTMs would see all of it.
        licence: of the weights.
    """

    sample_rate: int = 16000
    seanet: SEANetConfig = field(default_factory=lambda: ELU)
    codebooks: int = 8
    codebook_size: int = 1024
    taught: int = 768
    window: int = 32000
    licence: str = ""


class SpeechTokenizerCodec(ChunkedCodec):
    """Audio to residual codes of a SEANet encoder's latents, and back through its decoder."""

    Config = SpeechTokenizerConfig
    family = "speechtokenizer"
    config: SpeechTokenizerConfig

    def __init__(self, config: SpeechTokenizerConfig, name: str = "") -> None:
        super().__init__(config, name)
        width = config.seanet.dimension
        self.encoder = SEANetEncoder(config.seanet)
        self.quantizer = ResidualVQ(width, config.codebook_size, config.codebooks)
        # where the speech model has the latents' width, the official network has no matrix here
        self.transform = nn.Linear(width, config.taught) if config.taught != width else nn.Identity()
        self.decoder = SEANetDecoder(config.seanet)

    @property
    def spec(self) -> CodecSpec:
        config = self.config
        roles = ("semantic",) + ("acoustic",) * (config.codebooks - 1)
        stream = StreamSpec(config.seanet.hop, (config.codebook_size,) * config.codebooks, roles)
        ahead = 2 * awaited(stream.hop, config.sample_rate, config.window)
        return CodecSpec(
            config.sample_rate, config.seanet.channels, (stream,), causal=False, lookahead=ahead, licence=config.licence
        )

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        return (self.quantizer.encode(self.encoder(waveform), codebooks),), {}

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        return self.decoder(self.quantizer.decode(streams[0]))

    @torch.inference_mode()
    def semantic_features(self, codes: Tensor) -> Tensor:
        """Return what the first codebook of codes [batch, codebooks, frames] says in the speech model's space.

        Returns:
            [batch, taught, frames], comparable to the average of the teacher's hidden layers.

        Raises:
            ShapeError: if the codes are not this codec's.
        """
        (codes,) = self.check_streams((codes,))
        return self.transform(self.quantizer.decode(codes[:, :1]).transpose(1, 2)).transpose(1, 2)

    @property
    def stream_context(self) -> int:
        """Samples that chunks of long audio see on either side, not all of it."""
        return self.config.window


def convert_speechtokenizer(weights: Mapping[str, Tensor], name: str = "speechtokenizer") -> SpeechTokenizerCodec:
    """Return the codec `name` with official weights.

    Raises:
        CheckpointError: if keys are missing, unexpected or of another shape.
    """
    config = CONFIGS[name]
    codec = SpeechTokenizerCodec(config, name)
    names: dict[str, str | tuple[str, ...]] = {}
    for side, table in (("encoder", encoder_names(config.seanet)), ("decoder", decoder_names(config.seanet))):
        names |= {f"{side}.{ours}": f"{side}.{theirs}" for ours, theirs in table.items()}
    names |= {f"transform.{part}": f"transform.{part}" for part, _ in codec.transform.named_parameters()}
    names["quantizer.codebooks"] = tuple(f"quantizer.vq.layers.{n}._codebook.embed" for n in range(config.codebooks))
    load_official(codec, weights, [names], f"the checkpoint of {name}", STATISTICS)
    return codec.eval()


STATISTICS = r"codebook\.(inited|cluster_size|embed_avg)$"  # of training, in the checkpoints, of no use to a codec
CONFIGS = {
    "speechtokenizer": SpeechTokenizerConfig(),
    "speechtokenizer_snake": SpeechTokenizerConfig(seanet=SNAKE),
    "dm_codec": SpeechTokenizerConfig(licence="Apache-2.0"),
}
OFFICIAL: dict[str, Callable[[Mapping[str, Tensor]], SpeechTokenizerCodec]] = {
    "speechtokenizer": lambda weights: convert_speechtokenizer(weights, "speechtokenizer"),
    "speechtokenizer_snake": lambda weights: convert_speechtokenizer(weights, "speechtokenizer_snake"),
    "dm_codec": lambda weights: convert_speechtokenizer(weights, "dm_codec"),
}

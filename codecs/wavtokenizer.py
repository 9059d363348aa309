"""WavTokenizer: speech and music at 40 or 75 frames a second, one code each; a SEANet encoder and a Vocos decoder.

Source: Ji et al., "WavTokenizer: an Efficient Acoustic Discrete Codec Tokenizer for Audio Language Modeling", 2024, and its
published code and checkpoints.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from ..quantizers.euclidean import EuclideanVQ
from .base import Encoded
from .checkpoint import load_official
from .chunked import ChunkedCodec
from .chunking import awaited
from .errors import CheckpointError
from .layers.seanet import SEANetConfig, SEANetEncoder
from .layers.seanet_names import encoder_names
from .layers.vocos import FourierHead, VocosBackbone, VocosConfig
from .spec import CodecSpec, StreamSpec

SEANET_75 = SEANetConfig(dimension=512, causal=False)
SEANET_40 = SEANetConfig(dimension=512, causal=False, ratios=(6, 5, 5, 4))


@dataclass(frozen=True)
class WavTokenizerConfig:
    """Everything that shapes the codec.

    Attributes:
        sample_rate: Hz.
        seanet: encoder.
        codebook_size: of the one codebook.
        vocos: decoder.
        chunk, window: seconds of long audio that a stream works on at once, and samples that it sees on either side, since the
            decoder's attention and norms would see all of it.
        licence: of the weights.
    """

    sample_rate: int = 24000
    seanet: SEANetConfig = field(default_factory=lambda: SEANET_75)
    codebook_size: int = 4096
    vocos: VocosConfig = field(default_factory=VocosConfig)
    chunk: float = 10.0
    window: int = 24000
    licence: str = ""

    def __post_init__(self) -> None:
        if self.seanet.hop != self.vocos.hop or self.seanet.dimension != self.vocos.inputs:
            raise CheckpointError(
                f"the encoder's frames must be the decoder's; got hops {self.seanet.hop} and {self.vocos.hop}, "
                f"latents {self.seanet.dimension} and {self.vocos.inputs}"
            )


class WavTokenizerCodec(ChunkedCodec):
    """Audio to one code per frame of a SEANet encoder's latents, and back through spectra."""

    Config = WavTokenizerConfig
    family = "wavtokenizer"
    config: WavTokenizerConfig

    def __init__(self, config: WavTokenizerConfig, name: str = "") -> None:
        super().__init__(config, name)
        self.encoder = SEANetEncoder(config.seanet)
        self.quantizer = EuclideanVQ(config.seanet.dimension, config.codebook_size)
        self.backbone = VocosBackbone(config.vocos)
        self.head = FourierHead(config.vocos.width, config.vocos.window, config.vocos.hop)

    @property
    def spec(self) -> CodecSpec:
        config = self.config
        stream = StreamSpec(config.seanet.hop, (config.codebook_size,), ("acoustic",))
        ahead = 2 * awaited(stream.hop, config.sample_rate, config.window, config.chunk)
        return CodecSpec(
            config.sample_rate, config.seanet.channels, (stream,), causal=False, lookahead=ahead, licence=config.licence
        )

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        return (self.quantizer.encode(self.encoder(waveform), codebooks),), {}

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        return self.head(self.backbone(self.quantizer.decode(streams[0])))

    @property
    def stream_context(self) -> int:
        """Samples that chunks of long audio see on either side, not all of it."""
        return self.config.window

    @property
    def stream_seconds(self) -> float:
        """Seconds of a chunk where nobody asks for another length."""
        return self.config.chunk


# -- official weights -------------------------------------------------------------------------------------------


def convert_wavtokenizer(weights: Mapping[str, Tensor], name: str) -> WavTokenizerCodec:
    """Return the codec `name` with official weights; discriminators and the decoder that nothing uses are left out.

    Raises:
        CheckpointError: if keys are missing, unexpected or of another shape.
    """
    config = CONFIGS[name]
    codec = WavTokenizerCodec(config, name)
    # of four gains and biases per norm, one for each bitrate that was once meant, the first is the only one ever used
    first = {key: tensor[0] if re.search(r"norm\.(scale|shift)\.weight$", key) and tensor.ndim == 2 else tensor
             for key, tensor in weights.items()}  # fmt: skip
    load_official(codec, first, [_names(config)], f"the checkpoint of {name}", UNUSED)
    return codec.eval()


def _names(config: WavTokenizerConfig) -> dict[str, str | tuple[str, ...]]:
    stem = "feature_extractor.encodec"
    names: dict[str, str | tuple[str, ...]] = {
        f"encoder.{ours}": f"{stem}.encoder.{theirs}" for ours, theirs in encoder_names(config.seanet).items()
    }
    names["quantizer.codebooks"] = (f"{stem}.quantizer.vq.layers.0._codebook.embed",)
    pairs = [
        ("enter", "embed"),
        ("attention.out", "pos_net.2.proj_out"),
        ("group_norm", "pos_net.5"),
        ("last_norm", "final_layer_norm"),
    ]
    pairs += [(f"attention.{part}", f"pos_net.2.{part}") for part in ("norm", "q", "k", "v")]
    for ours, theirs in (("before.0", 0), ("before.1", 1), ("after.0", 3), ("after.1", 4)):
        pairs += [(f"{ours}.{part}", f"pos_net.{theirs}.{part}") for part in ("norm1", "conv1", "norm2", "conv2")]
    adaptive = [("norm", "norm")]
    for layer in range(config.vocos.layers):
        ours, theirs = f"blocks.{layer}", f"convnext.{layer}"
        pairs += [
            (f"{ours}.mix", f"{theirs}.dwconv"),
            (f"{ours}.widen", f"{theirs}.pwconv1"),
            (f"{ours}.narrow", f"{theirs}.pwconv2"),
        ]
        adaptive.append((f"{ours}.norm", f"{theirs}.norm"))
        names[f"backbone.{ours}.scale"] = f"backbone.{theirs}.gamma"
    for part, official in (("weight", "scale"), ("bias", "shift")):
        names |= {f"backbone.{ours}.{part}": f"backbone.{theirs}.{part}" for ours, theirs in pairs}
        names |= {f"backbone.{ours}.{part}": f"backbone.{theirs}.{official}.weight" for ours, theirs in adaptive}
        names[f"head.out.{part}"] = f"head.out.{part}"
    return names


UNUSED = (
    r"^(?!backbone\.|head\.|feature_extractor\.)|^feature_extractor\.encodec\.decoder\.|^head\.istft\.window$"
    r"|codebook\.(inited|cluster_size|embed_avg)$"
)
AT_75 = WavTokenizerConfig(licence="MIT")
AT_40 = WavTokenizerConfig(seanet=SEANET_40, vocos=VocosConfig(window=2400, hop=600), licence="MIT")
CONFIGS = {
    "wavtokenizer_75": AT_75,
    "wavtokenizer_40": AT_40,
    "wavtokenizer_small_75": AT_75,
    "wavtokenizer_small_40": AT_40,
    "wavtokenizer_medium_speech_75": AT_75,
    "wavtokenizer_medium_music_75": AT_75,
    "wavtokenizer_large_speech_75": AT_75,
    "wavtokenizer_large_unify_40": AT_40,
}
OFFICIAL: dict[str, Callable[[Mapping[str, Tensor]], WavTokenizerCodec]] = {
    name: partial(convert_wavtokenizer, name=name) for name in CONFIGS
}

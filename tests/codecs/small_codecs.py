"""One small codec of every family, with random weights whose codes differ from frame to frame."""

import dataclasses

import torch

from toneme.codecs.base import Codec
from toneme.codecs.bigcodec import BigCodec, BigCodecConfig
from toneme.codecs.dac import DacCodec, DacConfig
from toneme.codecs.encodec import EncodecCodec, EncodecConfig
from toneme.codecs.layers.audiomae import AudioMAEConfig
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.layers.ddim import Sampling
from toneme.codecs.layers.hifigan import HiFiGANConfig
from toneme.codecs.layers.seanet import SEANetConfig
from toneme.codecs.layers.transformer import TransformerConfig
from toneme.codecs.layers.unet import UNetConfig
from toneme.codecs.layers.vae import VAEConfig
from toneme.codecs.layers.vocos import VocosConfig
from toneme.codecs.mimi import MimiCodec, MimiConfig
from toneme.codecs.semanticodec import SemantiCodec, SemantiCodecConfig
from toneme.codecs.snac import SnacCodec, SnacConfig
from toneme.codecs.speechtokenizer import SpeechTokenizerCodec, SpeechTokenizerConfig
from toneme.codecs.teachers import TeacherConfig
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.codecs.units import UnitsCodec, UnitsConfig
from toneme.codecs.wavtokenizer import WavTokenizerCodec, WavTokenizerConfig
from toneme.codecs.xcodec import XCodec, XCodecConfig
from toneme.codecs.xcodec2 import ATTENTION, XCodec2, XCodec2Config

from .small_teachers import SETTINGS, SPECTRAL

SEANET = SEANetConfig(filters=4, dimension=16, ratios=(4, 2), lstm=1)
WHOLE = dataclasses.replace(SEANET, causal=False)
SEGMENTED = dataclasses.replace(SEANET, channels=2, causal=False, norm="time_group_norm")
BLOCKS = DacBlocksConfig(4, (2, 4), 16, 16)
HUBERT = TeacherConfig("hubert", None, tuple(SETTINGS.items()))
BERT = TeacherConfig("wav2vec2-bert", -1, tuple(SPECTRAL.items()))
PLAIN = DacBlocksConfig(4, (8, 5, 4, 2), 16, 64, up_strides=(8, 5, 4, 2), tanh=False)
ALIAS_FREE = DacBlocksConfig(2, (2, 2, 4, 4, 5), 32, activation="alias_free_snake_beta")
CODECS = {  # name -> class and configuration
    "bigcodec": (BigCodec, BigCodecConfig(8000, dataclasses.replace(BLOCKS, activation=ALIAS_FREE.activation, lstm=1), 32, 4)),
    "dac": (DacCodec, DacConfig(8000, BLOCKS, 3, 32, 4)),
    "encodec": (EncodecCodec, EncodecConfig(8000, SEANET, 4, 32)),
    "encodec, segments": (EncodecCodec, EncodecConfig(8000, SEGMENTED, 4, 32, segment=1600, segment_stride=1584)),
    "mimi": (
        MimiCodec,
        MimiConfig(
            8000, dataclasses.replace(SEANET, dimension=32, pad_mode="constant", true_skip=True, lstm=0),
            TransformerConfig(width=32, heads=4, layers=2, hidden=48, context=20), codebooks=4, codebook_size=32, code_width=8,
        ),
    ),
    "semanticodec": (
        SemantiCodec,
        SemantiCodecConfig(
            audiomae=AudioMAEConfig(16, 3, 2, 32, 4, (16, 2), 2), semantic_size=16, acoustic_size=16, lstm_layers=1,
            positions=8, unet=UNetConfig(2, 32, (1, 2), 1, (False, True), 16, 2 * 16 + 8), vae=VAEConfig(2, 32, (1, 2), 1),
            vocoder=HiFiGANConfig(8, 32, block_kernels=(3,), dilations=(1,)),
        ),
    ),
    "snac": (SnacCodec, SnacConfig(8000, DacBlocksConfig(8, (2, 4), 32, 32, depthwise=True, noise=True), (4, 2, 1), 32, 4)),
    "speechtokenizer": (
        SpeechTokenizerCodec,
        SpeechTokenizerConfig(8000, dataclasses.replace(WHOLE, bidirectional=True), 4, 32, 12, window=320),
    ),
    "toneme": (
        TonemeCodec,
        TonemeConfig(encoder_dim=16, encoder_blocks=(1, 1), decoder_dim=16, decoder_blocks=(1, 1), latent_dim=8),
    ),
    "units": (UnitsCodec, UnitsConfig(HUBERT, 32)),
    "wavtokenizer": (
        WavTokenizerCodec,
        WavTokenizerConfig(8000, WHOLE, 32, VocosConfig(inputs=16, width=16, hidden=32, layers=1, groups=4, window=32, hop=8)),
    ),
    "xcodec": (XCodec, XCodecConfig(blocks=PLAIN, teacher=HUBERT, codebook_size=32)),
    "xcodec2": (
        XCodec2,
        XCodec2Config(
            blocks=ALIAS_FREE, semantic=24, teacher=BERT, groups=4,
            transformer=dataclasses.replace(ATTENTION, width=32, heads=4, layers=2, hidden=48),
        ),
    ),
}  # fmt: skip


def small_codec(name: str) -> Codec:
    """Return the small codec of a family."""
    kind, config = CODECS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codec = kind(config, "small").eval()
        for key, tensor in codec.state_dict().items():
            if key.endswith(("codebooks", "codebook", "centres")):
                tensor.normal_(std=0.3)
            elif tensor.ndim == 3 and not key.startswith("teacher"):
                tensor.mul_(2.0)  # default initialisation fades out over many layers
    if isinstance(codec, SemantiCodec):
        codec.sampling = Sampling(steps=2)
    return codec

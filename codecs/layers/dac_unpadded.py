"""DAC's decoder without padding, as descript-audio-codec runs it over the chunks of a long file.

Convolutions give only what they see whole, transposed ones all that their input reaches; each chunk then sounds for as long as
the encoder's chunks are apart, and chunks follow one another without overlap.
Source: the published code of Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN", 2023 (`CodecMixin.padding`).
"""

from torch import Tensor, nn
from torch.nn.functional import conv1d, conv_transpose1d

from .dac_blocks import DILATIONS, DacBlocksConfig, Decoder, UpStage
from .dac_convolution import ResidualUnit


def unpadded(decoder: Decoder, latents: Tensor) -> Tensor:
    """Return the audio [batch, 1, `unpadded_length`] of latents [batch, latent, frames]."""
    x = _conv(decoder.first, latents)
    for stage in decoder.stages:
        x = _up(stage, x)  # pyright: ignore[reportArgumentType]
    return _conv(decoder.last, decoder.activation(x)).tanh()


def unpadded_length(config: DacBlocksConfig, frames: int) -> int:
    """Return the samples that so many frames sound for, none or fewer where they are too few to see one whole."""
    length = frames - 6
    for stride in config.ups:
        length = (length + 1) * stride - 6 * sum(DILATIONS)
    return length - 6


def _up(stage: UpStage, x: Tensor) -> Tensor:
    up = stage.up
    x = conv_transpose1d(stage.activation(x), up.weight, up.bias, up.stride)
    for unit in stage.units:
        x = _unit(unit, x)  # pyright: ignore[reportArgumentType]
    return x


def _unit(unit: ResidualUnit, x: Tensor) -> Tensor:
    y = _conv(unit.mixed, unit.between(_conv(unit.dilated, unit.before(x))))
    beyond = (x.shape[-1] - y.shape[-1]) // 2
    return x[..., beyond : x.shape[-1] - beyond] + y


def _conv(layer: nn.Conv1d, x: Tensor) -> Tensor:
    return conv1d(x, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)

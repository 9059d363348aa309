"""The encoder and decoder that DAC, SNAC, BigCodec and X-Codec share: residual units of dilated convolutions under Snake.

Each stage of the encoder is three residual units, an activation and a strided convolution that doubles the channels; the
decoder mirrors it. Nothing is causal: the padding is zeros on both sides.
Source: Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN" (DAC), 2023, and its published code; Siuzdak et
al., "SNAC: Multi-Scale Neural Audio Codec", 2024 (depthwise units, noise, attention); Xin et al., "BigCodec", 2024 (alias-free
SnakeBeta, LSTM).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import CheckpointError
from .alias_free import AliasFreeSnakeBeta
from .attention import LocalAttention
from .dac_convolution import Conv, ConvTranspose, ResidualUnit, Snake, Units
from .lstm import SkipLSTM

DILATIONS = (1, 3, 9)
ACTIVATIONS = {"snake": Snake, "alias_free_snake_beta": AliasFreeSnakeBeta}


@dataclass(frozen=True)
class DacBlocksConfig:
    """Everything that shapes the two.

    Attributes:
        width: channels of the encoder at the audio's rate, doubled by every stride.
        strides: of the encoder.
        up_strides: of the decoder; the encoder's from last to first where none are given.
        latent: channels between encoder and decoder.
        decoder_width: channels of the decoder at the latents' rate, halved by every stride.
        activation: "snake" or "alias_free_snake_beta".
        depthwise: residual units have one filter per channel, the encoder ends in such a layer, the decoder begins with one.
        keeps_length: the decoder gives exactly hop samples per frame. Without, a stage of odd stride gives one sample less
            than its share (DAC's at 16 and 24 kHz: 8 samples in all), and everything after lies where that puts it.
        attention: frames of a window of self-attention next to the latents, 0 for none.
        lstm: layers of an LSTM next to the latents, 0 for none.
        noise: a stage of the decoder can add noise that is scaled by a learned product of the signal.
        tanh: the decoder ends in one.
    """

    width: int = 64
    strides: tuple[int, ...] = (2, 4, 8, 8)
    latent: int = 1024
    decoder_width: int = 1536
    activation: str = "snake"
    depthwise: bool = False
    keeps_length: bool = True
    attention: int = 0
    lstm: int = 0
    noise: bool = False
    up_strides: tuple[int, ...] = ()
    tanh: bool = True

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise CheckpointError(f"the activation must be one of {', '.join(ACTIVATIONS)}; got {self.activation!r}")
        if self.depthwise and self.latent != self.width << len(self.strides):
            raise CheckpointError(f"depthwise, the latents have {self.width << len(self.strides)} channels; got {self.latent}")
        if self.up_strides and math.prod(self.up_strides) != self.hop:
            raise CheckpointError(f"encoder and decoder must have one hop; got strides {self.strides} and {self.up_strides}")

    @property
    def ups(self) -> tuple[int, ...]:
        """Strides of the decoder."""
        return self.up_strides or self.strides[::-1]

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.strides)

    @property
    def reach(self) -> int | None:
        """Samples beyond its own hop, on either side, that change a frame or are changed by it; None for all of them."""
        return None if self.lstm else max(_encoder_reach(self), _decoder_reach(self))


class Encoder(nn.Module):
    """Audio [batch, 1, time] to latents [batch, latent, frames]; time is a multiple of the hop."""

    def __init__(self, config: DacBlocksConfig) -> None:
        super().__init__()
        width, n = config.width, len(config.strides)
        wide = width << n
        self.first = Conv(1, width, 7)
        self.stages = nn.ModuleList(DownStage(width << i, stride, config) for i, stride in enumerate(config.strides))
        self.middle = _middle(wide, config)
        self.activation = None if config.depthwise else ACTIVATIONS[config.activation](wide)
        self.last = Conv(wide, wide, 7, depthwise=True) if config.depthwise else Conv(wide, config.latent, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x)
        return self.back(x if self.middle is None else self.middle(x))

    def front(self, x: Tensor) -> Tensor:
        """Return what the middle gets of audio."""
        x = self.first(x)
        for stage in self.stages:
            x = stage(x)
        return x

    def back(self, x: Tensor) -> Tensor:
        """Return the latents of what comes from the middle."""
        return self.last(x, self.activation)


class Decoder(nn.Module):
    """Latents [batch, latent, frames] to audio [batch, 1, time]."""

    def __init__(self, config: DacBlocksConfig) -> None:
        super().__init__()
        width, n = config.decoder_width, len(config.ups)
        self.first = Conv(config.latent, config.latent if config.depthwise else width, 7, depthwise=config.depthwise)
        self.mix = Conv(config.latent, width, 1) if config.depthwise else None
        self.middle = _middle(width, config)
        self.stages = nn.ModuleList(UpStage(width >> i, stride, config) for i, stride in enumerate(config.ups))
        self.activation = ACTIVATIONS[config.activation](width >> n)
        self.last = Conv(width >> n, 1, 7)
        self.tanh = config.tanh

    def forward(self, x: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Return the audio; `noise` are standard normal [batch, 1, time of the stage], one per stage, none by default."""
        x = self.front(x)
        return self.back(x if self.middle is None else self.middle(x), noise)

    def front(self, x: Tensor) -> Tensor:
        """Return what the middle gets of latents."""
        x = self.first(x)
        return x if self.mix is None else self.mix(x)

    def back(self, x: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Return the audio of what comes from the middle."""
        for stage, part in zip(self.stages, noise or [None] * len(self.stages), strict=True):
            x = stage(x, part)
        audio = self.last(x, self.activation)
        return audio.tanh() if self.tanh else audio


class DownStage(nn.Module):
    """Residual units, activation, strided convolution: [batch, C, time] to [batch, 2 C, time / stride]."""

    def __init__(self, channels: int, stride: int, config: DacBlocksConfig) -> None:
        super().__init__()
        self.units = _units(channels, config)
        self.activation = ACTIVATIONS[config.activation](channels)
        self.down = Conv(channels, 2 * channels, 2 * stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.units(x, owned=True), self.activation)


class UpStage(nn.Module):
    """Activation, transposed convolution, noise, residual units: [batch, C, time] to [batch, C / 2, time * stride]."""

    def __init__(self, channels: int, stride: int, config: DacBlocksConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation](channels)
        self.up = ConvTranspose(channels, channels // 2, stride, config.keeps_length)
        self.noise = Conv(channels // 2, channels // 2, 1, bias=False) if config.noise else None
        self.units = _units(channels // 2, config)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        x = self.up(x, self.activation)
        if self.noise is not None and noise is not None:
            x = x + noise * self.noise(x)
        return self.units(x, owned=True)


def _units(channels: int, config: DacBlocksConfig) -> Units:
    kind = ACTIVATIONS[config.activation]
    return Units(
        *(ResidualUnit(channels, dilation, kind(channels), kind(channels), config.depthwise) for dilation in DILATIONS)
    )


def _middle(channels: int, config: DacBlocksConfig) -> nn.Module | None:
    if config.lstm:
        return SkipLSTM(channels, config.lstm)
    return LocalAttention(channels, config.attention) if config.attention else None


# -- how far a frame sees -----------------------------------------------------------------------------------------


def _unit_reach(config: DacBlocksConfig) -> int:
    return sum(3 * dilation for dilation in DILATIONS) + 2 * len(DILATIONS) * ACTIVATIONS[config.activation].reach


def _encoder_reach(config: DacBlocksConfig) -> int:
    """Samples that a frame sees beyond its own hop: its span is traced from the last layer to the first."""
    active, around = ACTIVATIONS[config.activation].reach, max(0, config.attention - 1)
    first = -around - (3 if config.depthwise else 1 + active)
    last = -first
    for stride in config.strides[::-1]:
        margin, pad = _unit_reach(config) + active, -(-stride // 2)
        first, last = first * stride - pad - margin, last * stride - pad + 2 * stride - 1 + margin
    return max(3 - first, last + 3 + 1 - config.hop)


def _decoder_reach(config: DacBlocksConfig) -> int:
    """Whole frames, in samples, that the hop of one frame sees beyond it."""
    active, around = ACTIVATIONS[config.activation].reach, max(0, config.attention - 1)
    first, last = -3 - active, config.hop + 2 + active
    for stride in config.ups[::-1]:
        margin, pad = _unit_reach(config), -(-stride // 2)
        first, last = -(-(first - margin + pad - 2 * stride + 1) // stride) - active, (last + margin + pad) // stride + active
    return (max(-first, last) + around + 3) * config.hop


# -- names --------------------------------------------------------------------------------------------------------


def encoder_names(config: DacBlocksConfig, prefix: str) -> dict[str, str]:
    """Return our names of an encoder's modules -> those of the published implementations, numbered in sequence."""
    names = {"first": f"{prefix}.0"}
    for i in range(len(config.strides)):
        inner = f"{prefix}.{i + 1}.block"
        names |= _unit_names(f"stages.{i}", inner, 0)
        names |= {f"stages.{i}.activation": f"{inner}.3", f"stages.{i}.down": f"{inner}.4"}
    tail = [*_tail(config), *(() if config.depthwise else ("activation",)), "last"]
    return names | {part: f"{prefix}.{len(config.strides) + 1 + n}" for n, part in enumerate(tail)}


def decoder_names(config: DacBlocksConfig, prefix: str) -> dict[str, str]:
    """Return our names of a decoder's modules -> those of the published implementations, numbered in sequence."""
    head = ["first", *(("mix",) if config.depthwise else ()), *_tail(config)]
    names = {part: f"{prefix}.{n}" for n, part in enumerate(head)}
    for i in range(len(config.ups)):
        inner = f"{prefix}.{len(head) + i}.block"
        names |= {f"stages.{i}.activation": f"{inner}.0", f"stages.{i}.up": f"{inner}.1"}
        names |= {f"stages.{i}.noise": f"{inner}.2.linear"} if config.noise else {}
        names |= _unit_names(f"stages.{i}", inner, 3 if config.noise else 2)
    after = len(head) + len(config.ups)
    return names | {"activation": f"{prefix}.{after}", "last": f"{prefix}.{after + 1}"}


def _unit_names(stage: str, inner: str, start: int) -> dict[str, str]:
    parts = ("before", "dilated", "between", "mixed")
    return {
        f"{stage}.units.{j}.{part}": f"{inner}.{start + j}.block.{k}"
        for j in range(len(DILATIONS))
        for k, part in enumerate(parts)
    }


def _tail(config: DacBlocksConfig) -> tuple[str, ...]:
    return ("middle",) if config.lstm or config.attention else ()


def renamed(module: nn.Module, modules: dict[str, str]) -> dict[str, str]:
    """Return the names of a module's tensors -> those that a table of its parts' names gives them."""
    found = {}
    for name in module.state_dict():
        part = max((part for part in modules if name.startswith(f"{part}.")), key=len)
        found[name] = modules[part] + name[len(part) :]
    return found

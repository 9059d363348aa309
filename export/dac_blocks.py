"""`codecs.layers.dac_blocks` in a graph, on time-major memory [batch, time, channels]: products in place of convolutions.

ONNX Runtime computes a convolution along one axis by copying its windows for one large product. Here the layers are what
`codecs.layers.dac_convolution` makes of them, in blocks of time (`blocks`). The factors of Snake are in the weights
beside it, as far as nothing else reads what they scale: z + sin(z)^2 is left of it.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..codecs.layers import toom_cook
from ..codecs.layers.dac_blocks import Decoder, DownStage, Encoder, UpStage
from ..codecs.layers.dac_convolution import Conv, ConvTranspose, ResidualUnit, Snake
from .blocks import dilated, filtered, projection, residual, two_taps
from .operators import scaled_snake

LEAST_SCALE = 1e-9  # of Snake: the scale 0 stands for what is not bent at all


class RowsEncoder(nn.Module):
    """Audio [batch, 1, time] to latents [batch, frames, latent]."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.first = Windows(encoder.first)
        self.stages = nn.ModuleList(RowsDown(cast(DownStage, stage)) for stage in encoder.stages)
        self.bend = Bend(snake := cast(Snake, encoder.activation))
        self.last = Windows(encoder.last, scales(snake))

    def forward(self, audio: Tensor) -> Tensor:
        """Return the latents."""
        x = self.first(audio.transpose(1, 2))
        for stage in self.stages:
            x = stage(x)
        return self.last(self.bend(x))


class RowsDecoder(nn.Module):
    """Latents [batch, frames, latent] to audio [batch, 1, time]."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.first = Dilated(decoder.first)
        self.stages = nn.ModuleList(RowsUp(cast(UpStage, stage)) for stage in decoder.stages)
        self.last = Projection(decoder.last, cast(Snake, decoder.activation))
        self.tanh = decoder.tanh

    def forward(self, x: Tensor) -> Tensor:
        """Return the audio."""
        x = self.first(x)
        for stage in self.stages:
            x = stage(x)
        audio = self.last(x).transpose(1, 2)
        return audio.tanh() if self.tanh else audio


class RowsDown(nn.Module):
    """Residual units, activation, strided convolution: [batch, time, C] to [batch, time / stride, 2 C]."""

    def __init__(self, stage: DownStage) -> None:
        super().__init__()
        self.units = nn.Sequential(*(RowsUnit(cast(ResidualUnit, unit)) for unit in stage.units))
        self.down = Strided(stage.down, cast(Snake, stage.activation))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.units(x))


class RowsUp(nn.Module):
    """Activation, transposed convolution, residual units: [batch, time, C] to [batch, time * stride, C / 2]."""

    def __init__(self, stage: UpStage) -> None:
        super().__init__()
        self.up = Transposed(stage.up, cast(Snake, stage.activation))
        self.units = nn.Sequential(*(RowsUnit(cast(ResidualUnit, unit)) for unit in stage.units))

    def forward(self, x: Tensor) -> Tensor:
        return self.units(self.up(x))


class RowsUnit(nn.Module):
    """x [batch, time, channels] plus a dilated convolution of 7 and one of 1, an activation before each."""

    scale: Tensor
    mixed: Tensor
    mixed_bias: Tensor

    def __init__(self, unit: ResidualUnit) -> None:
        super().__init__()
        before, between = scales(cast(Snake, unit.before)), scales(cast(Snake, unit.between))
        self.dilated = (Filters if unit.dilated.groups > 1 else Dilated)(unit.dilated, before, between)
        matrix = (unit.mixed.weight.detach()[:, :, 0].double() / between).T
        self.register_buffer("scale", before.float())
        self.register_buffer("mixed", matrix.float().contiguous())
        self.register_buffer("mixed_bias", bias_of(unit.mixed))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.dilated
        unit = filtered if isinstance(inner, Filters) else residual
        return unit(x, self.scale, *inner.weights, self.mixed, self.mixed_bias, inner.dilation)


# -- Snake --------------------------------------------------------------------------------------------------------


class Bend(nn.Module):
    """Snake times its scales, of x [batch, time, channels]."""

    scale: Tensor

    def __init__(self, snake: Snake) -> None:
        super().__init__()
        self.register_buffer("scale", scales(snake).float())

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation, to be divided by the scales."""
        return scaled_snake(x, self.scale)


def scales(snake: Snake) -> Tensor:
    """Return the scale of each channel [channels] in 64 bits, never 0."""
    alpha = snake.alpha.detach().view(-1).double()
    return torch.where(alpha.abs() < LEAST_SCALE, LEAST_SCALE, alpha)


# -- convolutions -------------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """Rows [batch, time, in] to [batch, time, out] by a matrix [out, in] given in 64 bits."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.float().contiguous())
        self.bias = None if bias is None else nn.Parameter(bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        """Return the product; of two axes, which ONNX Runtime takes for one operator with its bias."""
        return F.linear(x.reshape(-1, x.shape[2]), self.weight, self.bias).reshape(x.shape[0], -1, self.weight.shape[0])


class Windows(nn.Module):
    """A short convolution as one product over windows that lie side by side: of one channel, or at a low rate."""

    def __init__(self, conv: nn.Conv1d, before: Tensor | None = None) -> None:
        super().__init__()
        weight = _divided(conv, before)
        self.kernel = weight.shape[2]
        self.product = Linear(weight.transpose(1, 2).flatten(1), conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x [batch, time, channels]."""
        time, padded = x.shape[1], F.pad(x, (0, 0, self.kernel // 2, self.kernel // 2))
        return self.product(torch.cat([padded[:, k : k + time] for k in range(self.kernel)], dim=2))


class Projection(nn.Module):
    """Snake and a convolution to one channel."""

    scale: Tensor
    taps: Tensor
    bias: Tensor

    def __init__(self, conv: Conv, before: Snake) -> None:
        super().__init__()
        self.register_buffer("scale", scales(before).float())
        self.register_buffer("taps", _divided(conv, scales(before))[0].float())
        self.register_buffer("bias", bias_of(conv))

    def forward(self, x: Tensor) -> Tensor:
        """Return the audio [batch, time, 1] of x [batch, time, channels]."""
        return projection(x, self.scale, self.taps, self.bias)


class TwoTaps(nn.Module):
    """Snake and a convolution of two strides: each row of its output is two products."""

    scale: Tensor
    early: Tensor
    late: Tensor
    both: Tensor
    bias: Tensor

    def __init__(self, snake: Snake, early: Tensor, late: Tensor, bias: Tensor) -> None:
        """Take matrices in 64 bits, for inputs that are the scales times what they should be."""
        super().__init__()
        parts = {"scale": scales(snake), "early": early, "late": late, "both": early + late, "bias": bias}
        for name, part in parts.items():
            self.register_buffer(name, part.float().contiguous())

    def taps(self, x: Tensor, stride: int, lead: int, cut: list[int]) -> Tensor:
        """Return `two_taps` of x [batch, time, channels]."""
        return two_taps(x, self.scale, self.early, self.late, self.both, self.bias, stride, lead, cut)


class Strided(TwoTaps):
    """A convolution of two strides behind Snake: rows of a stride times both halves of the kernel."""

    def __init__(self, conv: Conv, before: Snake) -> None:
        self.stride, self.padding = conv.stride[0], int(conv.padding[0])
        halves = _divided(conv, scales(before)).unflatten(2, (2, self.stride)).permute(2, 3, 1, 0).flatten(1, 2)
        super().__init__(before, halves[0], halves[1], bias_of(conv))

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x [batch, time, channels]."""
        return self.taps(x, self.stride, self.padding, [1, 0, 0])


class Transposed(TwoTaps):
    """A transposed convolution of two strides behind Snake: each row of a stride sees two inputs."""

    def __init__(self, conv: ConvTranspose, before: Snake) -> None:
        stride, skip = conv.stride[0], int(conv.padding[0])
        weight = (conv.weight.detach().double() / scales(before)[:, None, None]).unflatten(2, (2, stride))
        late, early = weight.permute(2, 0, 3, 1).flatten(2)  # the newest input meets the front of the kernel
        super().__init__(before, early, late, bias_of(conv).repeat(stride))
        self.cut = [stride, skip, skip - conv.output_padding[0]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the transposed convolution of x [batch, time, channels]."""
        return self.taps(x, 1, 1, self.cut)


class Dilated(nn.Module):
    """A convolution of 7 taps by Toom-Cook: values of tiles, products of values, outputs of products."""

    matrices: Tensor
    bias: Tensor

    def __init__(self, conv: Conv, before: Tensor | None = None, after: Tensor | None = None) -> None:
        super().__init__()
        weight, bias = _divided(conv, before), bias_of(conv)
        weight = weight if after is None else weight * after[:, None, None]
        self.dilation = conv.dilation[0]
        self.register_buffer("matrices", torch.cat(toom_cook.pack(weight)))  # [13, in, out]
        self.register_buffer("bias", bias if after is None else (bias * after).float())

    @property
    def weights(self) -> tuple[Tensor, Tensor]:
        """Weights and bias."""
        return self.matrices, self.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x [batch, time, in]."""
        return dilated(x, self.matrices, self.bias, self.dilation)


class Filters(nn.Module):
    """The weights of a dilated convolution of 7 taps with one filter per channel."""

    filters: Tensor
    bias: Tensor

    def __init__(self, conv: Conv, before: Tensor, after: Tensor) -> None:
        super().__init__()
        self.dilation = conv.dilation[0]
        weight = conv.weight.detach().double() * (after / before)[:, None, None]
        self.register_buffer("filters", weight.float())
        self.register_buffer("bias", (bias_of(conv) * after).float())

    @property
    def weights(self) -> tuple[Tensor, Tensor]:
        """Filters and bias."""
        return self.filters, self.bias


def bias_of(conv: nn.Conv1d | nn.ConvTranspose1d) -> Tensor:
    """Return the bias of a convolution that has one."""
    return conv.get_parameter("bias").detach()


def _divided(conv: nn.Conv1d, scale: Tensor | None) -> Tensor:
    """Return the weight [out, in, kernel] in 64 bits, for inputs that are `scale` [in] times what they should be."""
    weight = conv.weight.detach().double()
    return weight if scale is None else weight / scale[:, None]

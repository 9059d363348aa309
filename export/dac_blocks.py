"""`codecs.layers.dac_blocks` in a graph, on time-major memory [batch, time, channels]: products in place of convolutions.

ONNX Runtime computes a convolution along one axis by copying its windows for one large product. Here the layers are what
`codecs.layers.dac_convolution` makes of them: a dilated convolution of 7 taps is 13 products of a quarter of the rows (see
`codecs.layers.toom_cook`) between two small convolutions for all 13 values of a tile at once; a convolution of two strides
reads rows of a stride; a transposed one is two products, of which rows in pairs share one. The factors of Snake are in the
weights beside it, as far as nothing else reads what they scale: z + sin(z)^2 is left of it.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..codecs.layers import toom_cook
from ..codecs.layers.dac_blocks import Decoder, DownStage, Encoder, UpStage
from ..codecs.layers.dac_convolution import Conv, ConvTranspose, ResidualUnit, Snake

TILE, TAPS = toom_cook.TILE, toom_cook.TAPS
REACH = TAPS // 2
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
        self.bend = Bend(snake := cast(Snake, decoder.activation))
        self.last = Projection(decoder.last, scales(snake))
        self.tanh = decoder.tanh

    def forward(self, x: Tensor) -> Tensor:
        """Return the audio."""
        x = self.first(x)
        for stage in self.stages:
            x = stage(x)
        audio = self.last(self.bend(x))
        return audio.tanh() if self.tanh else audio


class RowsDown(nn.Module):
    """Residual units, activation, strided convolution: [batch, time, C] to [batch, time / stride, 2 C]."""

    def __init__(self, stage: DownStage) -> None:
        super().__init__()
        self.units = nn.Sequential(*(RowsUnit(cast(ResidualUnit, unit)) for unit in stage.units))
        self.bend = Bend(snake := cast(Snake, stage.activation))
        self.down = Strided(stage.down, scales(snake))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.bend(self.units(x)))


class RowsUp(nn.Module):
    """Activation, transposed convolution, residual units: [batch, time, C] to [batch, time * stride, C / 2]."""

    def __init__(self, stage: UpStage) -> None:
        super().__init__()
        self.bend = Bend(snake := cast(Snake, stage.activation))
        self.up = Transposed(stage.up, scales(snake))
        self.units = nn.Sequential(*(RowsUnit(cast(ResidualUnit, unit)) for unit in stage.units))

    def forward(self, x: Tensor) -> Tensor:
        return self.units(self.up(self.bend(x)))


class RowsUnit(nn.Module):
    """x [batch, time, channels] plus a dilated convolution of 7 and one of 1, an activation before each."""

    def __init__(self, unit: ResidualUnit) -> None:
        super().__init__()
        before, between = scales(cast(Snake, unit.before)), scales(cast(Snake, unit.between))
        self.bend = Bend(cast(Snake, unit.before))
        self.dilated = Dilated(unit.dilated, before, between)
        self.mixed = Linear(unit.mixed.weight.detach()[:, :, 0].double() / between, unit.mixed.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mixed(bent(self.dilated(self.bend(x))))


# -- Snake --------------------------------------------------------------------------------------------------------


class Bend(nn.Module):
    """Snake times its scales, of x [batch, time, channels], or [batch, channels, time] where time comes last."""

    scale: Tensor

    def __init__(self, snake: Snake, time_last: bool = False) -> None:
        super().__init__()
        scale = scales(snake).float()
        self.register_buffer("scale", scale[:, None] if time_last else scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation, to be divided by the scales."""
        return bent(x * self.scale)


def bent(x: Tensor) -> Tensor:
    """Return Snake times its scale of what is x divided by its scale."""
    wave = x.sin()
    return x + wave * wave


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
    """A convolution to one channel: every sample through all taps at once, then the taps shifted onto each other."""

    def __init__(self, conv: Conv, before: Tensor) -> None:
        super().__init__()
        self.product = Linear(_divided(conv, before)[0].T, None)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Return the audio [batch, 1, time] of x [batch, time, channels]."""
        time, reach = x.shape[1], self.product.weight.shape[0] // 2
        taps = F.pad(self.product(x).transpose(1, 2), (reach, reach))
        total = taps[:, :1, :time]
        for k in range(1, 2 * reach + 1):
            total = total + taps[:, k : k + 1, k : k + time]
        return total if self.bias is None else total + self.bias


class Strided(nn.Module):
    """A convolution of two strides: rows of a stride times both halves of the kernel, the halves' products one row apart."""

    def __init__(self, conv: Conv, before: Tensor) -> None:
        super().__init__()
        self.stride, self.padding = conv.stride[0], int(conv.padding[0])
        halves = _divided(conv, before).unflatten(2, (2, self.stride)).permute(2, 0, 3, 1).flatten(2)
        self.product = Linear(halves.flatten(0, 1), None)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x [batch, time, channels]."""
        batch, time, channels = x.shape
        frames, width = (time + 2 * self.padding) // self.stride - 1, self.product.weight.shape[0] // 2
        padded = F.pad(x, (0, 0, self.padding, (frames + 1) * self.stride - self.padding - time))
        halves = self.product(padded.reshape(batch, frames + 1, self.stride * channels))
        out = halves[:, :frames, :width] + halves[:, 1:, width:]
        return out if self.bias is None else out + self.bias


class Transposed(nn.Module):
    """A transposed convolution of two strides: each row of a stride sees two inputs.

    Of inputs a, b, c two rows are aV + bW = b(V + W) + (a - b)V and bV + cW = b(V + W) + (c - b)W.
    Source: Winograd, "Arithmetic Complexity of Computations", 1980.
    """

    early: Tensor
    late: Tensor
    both: Tensor

    def __init__(self, conv: ConvTranspose, before: Tensor) -> None:
        super().__init__()
        self.stride, self.width = conv.stride[0], conv.out_channels
        self.skip = int(conv.padding[0])
        self.extra = self.stride - 2 * self.skip + conv.output_padding[0]
        weight = (conv.weight.detach().double() / before[:, None, None]).unflatten(2, (2, self.stride))
        late, early = weight.permute(2, 0, 3, 1).flatten(2)  # the newest input meets the front of the kernel
        for name, matrix in (("early", early), ("late", late), ("both", early + late)):
            self.register_buffer(name, matrix.float().contiguous())
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().repeat(self.stride))

    def forward(self, x: Tensor) -> Tensor:
        """Return the transposed convolution of x [batch, time, channels]."""
        batch, time, channels = x.shape
        pairs = (time + 2) // 2
        rows = F.pad(x, (0, 0, 1, 2 * pairs + 1 - time)).reshape(batch, pairs + 1, 2, channels)
        outer, inner = rows[:, :, 0], rows[:, :-1, 1].reshape(-1, channels)
        first, second = outer[:, :-1].reshape(-1, channels) - inner, outer[:, 1:].reshape(-1, channels) - inner
        shared = inner @ self.both if self.bias is None else torch.addmm(self.bias, inner, self.both)
        both = torch.stack([torch.addmm(shared, first, self.early), torch.addmm(shared, second, self.late)], dim=1)
        return both.reshape(batch, -1, self.width)[:, self.skip : self.skip + time * self.stride + self.extra]


class Dilated(nn.Module):
    """A convolution of 7 taps by Toom-Cook: values of tiles, products of values, outputs of products."""

    enter: Tensor
    matrices: Tensor
    leave: Tensor
    none: Tensor  # the exporter writes a convolution of three axes wrong where it has no bias

    def __init__(self, conv: Conv, before: Tensor | None = None, after: Tensor | None = None) -> None:
        super().__init__()
        weight = _divided(conv, before)
        weight = weight if after is None else weight * after[:, None, None]
        bias = conv.get_parameter("bias").detach()
        self.dilation = conv.dilation[0]
        self.register_buffer("matrices", torch.cat(toom_cook.pack(weight)))  # [13, in, out]
        self.bias = nn.Parameter(bias if after is None else (bias * after).float())
        enter, leave = torch.tensor(toom_cook.ENTER), torch.tensor(toom_cook.LEAVE)
        far = F.pad(enter[:-1], (TILE, 0))  # the later taps meet the tile after
        self.register_buffer("enter", torch.cat([F.pad(enter, (0, TILE)), far])[:, None, :, None, None])
        self.register_buffer("none", torch.zeros(len(self.matrices)))
        self.register_buffer("leave", torch.cat([leave, leave[:, :-1]], dim=1)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x [batch, time, in]."""
        (batch, time, inside), step = x.shape, self.dilation
        count, outside = len(self.matrices), self.matrices.shape[2]
        tiles = (time + TILE * step - 1) // (TILE * step)
        height = TILE * tiles + TAPS
        # a third axis keeps ONNX Runtime from blocks of channels, which it would take apart again
        image = F.pad(x, (0, 0, REACH * step, (height - REACH) * step - time)).reshape(batch, 1, height, 1, step * inside)
        values = F.conv3d(image, self.enter, self.none, (TILE, 1, 1)).reshape(batch, count, tiles * step, inside)
        products = (values @ self.matrices).reshape(batch, count, tiles, step * outside)
        rows = F.conv2d(products, self.leave).transpose(1, 2).reshape(batch, TILE * tiles * step, outside)
        return rows[:, :time] + self.bias


def _divided(conv: nn.Conv1d, scale: Tensor | None) -> Tensor:
    """Return the weight [out, in, kernel] in 64 bits, for inputs that are `scale` [in] times what they should be."""
    weight = conv.weight.detach().double()
    return weight if scale is None else weight / scale[:, None]

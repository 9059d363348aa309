"""`codecs.teachers` in a graph: HuBERT and WavLM on time-major memory [batch, time, channels], products for convolutions.

The first convolution's norm over all of the audio is in its weights: the moments of what it gives follow from those of the
samples that it sees. Weights, norms and activations are taken from the layers of transformers.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..codecs.teachers import HOP, Teacher
from .rows import affine, anew, product, rows


class PlainTeacher(nn.Module):
    """Audio [batch, samples] at 16 kHz to features [batch, frames, dimension]."""

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        model, self.least = teacher.model, teacher.least
        self.front = Front(model.feature_extractor.conv_layers)
        self.norm = getattr(model.feature_projection, "layer_norm", None)
        self.enter = Affine(model.feature_projection.projection)
        self.layers = Layers(model, teacher.layer)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the features."""
        frames = (waveform.shape[1] + HOP - self.least) // HOP
        x = self.front(F.pad(waveform, (HOP // 2, HOP // 2)), frames)
        return self.layers(self.enter(x if self.norm is None else self.norm(x)))


def can_be_plain(teacher: Teacher) -> bool:
    """Say whether a teacher is of the kinds that `PlainTeacher` knows."""
    config = teacher.model.config
    return config.model_type in ("hubert", "wavlm") and not getattr(config, "conv_pos_batch_norm", False)


class Affine(nn.Module):
    """A linear layer on [batch, rows, inputs], its outputs times `scale`."""

    def __init__(self, layer: nn.Linear, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("weight", (layer.weight.detach().T * scale).contiguous())
        self.register_buffer("bias", layer.bias.detach() * scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, rows, outputs]."""
        return affine(x, self.get_buffer("weight"), self.get_buffer("bias"))


# -- the convolutions at the front ---------------------------------------------------------------------------------


class Front(nn.Module):
    """Audio [batch, samples] to the features [batch, frames, channels] of strided convolutions."""

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        first, *rest = layers
        self.first = FirstNormed(first) if isinstance(getattr(first, "layer_norm", None), nn.GroupNorm) else First(first)
        self.rest = nn.ModuleList(Strided(layer) for layer in rest)
        self.stride, reach = 1, 1
        for conv in (cast(nn.Conv1d, layer.conv) for layer in reversed(rest)):
            stride, kernel = conv.stride[0], conv.kernel_size[0]
            self.stride, reach = self.stride * stride, (reach - 1) * stride + kernel
        self.extra = -(-(reach - self.stride) // self.stride)  # frames that keep the others from what is beyond the end

    def forward(self, waveform: Tensor, frames: int) -> Tensor:
        """Return the features of so many frames."""
        x = self.first(waveform, self.stride * (frames + self.extra))
        for layer in self.rest:
            x = layer(x)
        return anew(x[:, :frames])


class First(nn.Module):
    """The first convolution as a product over windows that lie side by side."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        conv = layer.conv
        self.kernel, self.stride = conv.kernel_size[0], conv.stride[0]
        self.norm, self.activation = getattr(layer, "layer_norm", None), layer.activation
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        self.register_buffer("weight", conv.weight.detach()[:, 0].T.contiguous())  # [kernel, channels]
        self.register_buffer("bias", bias.clone())

    def forward(self, waveform: Tensor, count: int) -> Tensor:
        """Return so many outputs [batch, count, channels], of silence beyond the end."""
        windows = self._windows(waveform)
        windows = F.pad(windows, (0, 0, 0, count - windows.shape[1]))
        x = affine(windows, self.get_buffer("weight"), self.get_buffer("bias"))
        return self.activation(x if self.norm is None else self.norm(x))

    def _windows(self, waveform: Tensor) -> Tensor:
        """Return what each output sees [batch, outputs, kernel]."""
        count, reach = waveform.shape[1] // self.stride, -(-self.kernel // self.stride)
        strides = rows(waveform[:, : count * self.stride, None], self.stride)
        windows = torch.cat([strides[:, n : count - reach + 1 + n] for n in range(reach)], dim=2)
        return windows[:, :, : self.kernel]


class FirstNormed(First):
    """The first convolution with a norm over all time, as `codecs.teachers` computes it."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        norm, self.norm = layer.layer_norm, None
        self.eps = norm.eps
        self.register_buffer("gain", norm.weight.detach().double())
        self.register_buffer("shift", norm.bias.detach().double())

    def forward(self, waveform: Tensor, count: int) -> Tensor:
        """Return so many outputs [batch, count, channels], of anything beyond the end."""
        windows = self._windows(waveform)
        seen, weight = windows.double(), self.get_buffer("weight").double()  # the norm takes off any bias
        centre = seen.mean(1, keepdim=True)
        apart = seen - centre
        # not as a product of matrices: older ONNX Runtimes make one operator of it that they lack in 64 bits
        covariance = (apart[..., None] * apart[:, :, None]).mean(1)
        variance = ((covariance @ weight) * weight).sum(1)  # [batch, channels]
        scale = self.get_buffer("gain") / (variance + self.eps).sqrt()
        shift = self.get_buffer("shift") - (centre @ weight)[:, 0] * scale
        # a last column of ones takes the shift along
        windows = F.pad(windows, (0, 1, 0, count - windows.shape[1]), value=1.0)
        return self.activation(windows @ torch.cat([weight * scale[:, None], shift[:, None]], dim=1).float())


class Strided(nn.Module):
    """A convolution without padding, of x [batch, stride * count, channels] to [batch, count, channels].

    The last outputs see zeros beyond the end.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        conv, self.norm, self.activation = layer.conv, getattr(layer, "layer_norm", None), layer.activation
        self.stride, self.inside = conv.stride[0], conv.in_channels
        self.taps = conv.kernel_size[0]
        weight = conv.weight.detach().permute(2, 1, 0)  # [kernel, in, out]
        for number, part in enumerate(weight.split(self.stride)):
            self.register_buffer(f"weight{number}", part.flatten(0, 1).contiguous())
        self.register_buffer("bias", torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution."""
        x = rows(x, self.stride * self.inside)
        y = affine(x, self.get_buffer("weight0"), self.get_buffer("bias"))
        for number in range(1, -(-self.taps // self.stride)):
            weight = self.get_buffer(f"weight{number}")
            y = y + F.pad(product(x[:, :, : len(weight)], weight), (0, 0, -number, number))
        return self.activation(y if self.norm is None else self.norm(y))


# -- the layers of attention ---------------------------------------------------------------------------------------


class Layers(nn.Module):
    """x [batch, frames, width] to one of the hidden states, or the mean of them all where `wanted` is None."""

    def __init__(self, model: Any, wanted: int | None) -> None:
        super().__init__()
        encoder, first = model.encoder, model.config.do_stable_layer_norm
        count = len(encoder.layers) if wanted is None or wanted < 0 else wanted
        self.mean = wanted is None
        self.positions, self.norm = encoder.pos_conv_embed, None if first else encoder.layer_norm
        self.layers = nn.ModuleList(Layer(layer, first) for layer in encoder.layers[:count])
        relative = getattr(encoder.layers[0].attention, "rel_attn_embed", None)
        self.distances = None if relative is None else Distances(encoder.layers[0].attention)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        x = x + self.positions(x)
        x = x if self.norm is None else self.norm(x)
        bias = None if self.distances is None else self.distances(x.shape[1])
        total = x
        for layer in self.layers:
            x = layer(x, bias)
            total = total + x if self.mean else x
        return total / (len(self.layers) + 1) if self.mean else x


class Layer(nn.Module):
    """Attention and a perceptron, each inside a residual, norms before them (`first`) or after."""

    def __init__(self, layer: Any, first: bool) -> None:
        super().__init__()
        self.first, self.norm1, self.norm2 = first, layer.layer_norm, layer.final_layer_norm
        self.attention = Attention(layer.attention)
        self.widen, self.narrow = Affine(layer.feed_forward.intermediate_dense), Affine(layer.feed_forward.output_dense)
        self.activation = layer.feed_forward.intermediate_act_fn

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return the output for x [batch, frames, width]; `bias` [heads, frames, frames] is of positions."""
        if self.first:
            x = x + self.attention(self.norm1(x), bias)
            return x + self._bend(self.norm2(x))
        x = self.norm1(x + self.attention(x, bias))
        return self.norm2(x + self._bend(x))

    def _bend(self, x: Tensor) -> Tensor:
        return self.narrow(self.activation(self.widen(x)))


class Attention(nn.Module):
    """Every frame sees every other; WavLM adds a bias for their distance, times a gate of each frame and head."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads, self.head = attention.num_heads, attention.head_dim
        self.query = Affine(attention.q_proj, self.head**-0.5)
        self.key, self.value, self.out = (Affine(part) for part in (attention.k_proj, attention.v_proj, attention.out_proj))
        self.gate = Gate(attention) if hasattr(attention, "gru_rel_pos_linear") else None

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return the output for x [batch, frames, width]."""
        query, key, value = (self._split(part(x)) for part in (self.query, self.key, self.value))
        scores = query @ key.transpose(2, 3)
        if self.gate is not None and bias is not None:
            scores = scores + self.gate(self._split(x)) * bias
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).reshape(x.shape))

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], self.heads, self.head).transpose(1, 2)


class Gate(nn.Module):
    """Heads of x [batch, heads, frames, head] to what the bias of their positions is multiplied by, one number for each."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        layer = attention.gru_rel_pos_linear
        sums = (part.detach().double().unflatten(0, (2, 4)).sum(1).float() for part in (layer.weight, layer.bias))
        self.weight, self.bias = (nn.Parameter(part) for part in sums)
        self.register_buffer("constant", attention.gru_rel_pos_const.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the gate."""
        a, b = F.linear(x, self.weight, self.bias).sigmoid().chunk(2, dim=-1)
        return a * (b * self.get_buffer("constant") - 1.0) + 2.0


class Distances(nn.Module):
    """The bias [heads, frames, frames] of how far frames are apart, in steps that grow with the distance."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.most = attention.max_distance  # those beyond it have the same
        with torch.no_grad():
            steps = attention._relative_positions_bucket(torch.arange(-self.most, self.most + 1))
            self.register_buffer("table", attention.rel_attn_embed(steps).clone())

    def forward(self, frames: int) -> Tensor:
        """Return the bias."""
        place = torch.arange(frames)
        apart = (place - place[:, None]).clamp(-self.most, self.most) + self.most
        return F.embedding(apart, self.get_buffer("table")).permute(2, 0, 1)

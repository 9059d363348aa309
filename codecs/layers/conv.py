"""Convolution and transposed convolution in time, padded as SEANet codecs pad, whole or piece by piece.

x is [batch, channels, time] throughout. `forward` takes a whole signal. A causal layer also takes it in pieces:
`state = layer.initial_state(batch)`, then `y, state = layer.step(x, state)`; the pieces joined equal `forward` of the whole.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ShapeError
from . import rows
from .activation import Activation
from .norm import TimeGroupNorm
from .packs import Packs
from .padding import PAD_MODES, surround


class _Packs(Packs):
    """Keeps the matrices of the CPU's path."""

    weight: Tensor
    bias: Tensor | None

    def _pack(self, x: Tensor) -> rows.Packed | None:
        return self._kept((self.weight, self.bias), self._make_pack) if rows.usable(x) else None

    def _make_pack(self) -> rows.Packed | None:
        raise NotImplementedError


class Conv1d(_Packs, nn.Conv1d):
    """Convolution whose output has ceil(time / stride) samples.

    State: the last `context` inputs [batch, in_channels, context]; before the first sample it is zeros where the padding is
    constant, and empty where the padding depends on the signal: then the first piece must be longer than `context`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        causal: bool = False,
        pad_mode: str = "reflect",
        norm: str = "none",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation=dilation, groups=groups, bias=bias)
        if pad_mode not in PAD_MODES:
            raise ShapeError(f"pad_mode must be one of {', '.join(PAD_MODES)}; got {pad_mode!r}")
        self.causal = causal
        self.pad_mode = pad_mode
        self.norm = _norm(norm, out_channels, causal)

    @property
    def context(self) -> int:
        """Samples of padding: dilated kernel less stride."""
        return (self.kernel_size[0] - 1) * self.dilation[0] + 1 - self.stride[0]

    @property
    def sides(self) -> tuple[int, int]:
        """Padding in front and behind, before the fill to a multiple of the stride."""
        behind = 0 if self.causal else self.context // 2
        return self.context - behind, behind

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return the first and last input sample that output samples `first` to `last` see."""
        first, last = first * self.stride[0] - self.sides[0], last * self.stride[0] - self.sides[0]
        return first, last + (self.kernel_size[0] - 1) * self.dilation[0]

    def initial_state(self, batch: int) -> Tensor:
        """Return the state before the first sample."""
        known = self.context if self.pad_mode == "constant" else 0
        return self.weight.new_zeros(batch, self.in_channels, known)

    def forward(self, x: Tensor, onto: Tensor | None = None, before: Activation | None = None) -> Tensor:
        """Return the convolution of a whole signal, or of its activation `before`, added to `onto` (which it may overwrite)."""
        front, behind = self.sides
        return self._convolve(surround(x, front, behind + -x.shape[-1] % self.stride[0], self.pad_mode, before), onto)

    def step(
        self,
        x: Tensor,
        state: Tensor,
        final: bool = False,
        onto: Tensor | None = None,
        before: Activation | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Convolve the next piece, a multiple of the stride unless it is the final one; return output and new state.

        As in `forward`; the state holds what the activation gave.
        """
        fill = -x.shape[-1] % self.stride[0]
        self._check_step(x, fill, final)
        if not x.shape[-1]:
            return x.new_zeros(x.shape[0], self.out_channels, 0), state
        starts = state.shape[-1] < self.context
        if starts and not final and self.pad_mode == "reflect" and x.shape[-1] <= self.context:
            raise ShapeError(f"the first piece must be longer than {self.context} samples; got {x.shape[-1]}: buffer more")
        padded = surround(x, self.context if starts else state, fill, self.pad_mode, before)
        end = padded.shape[-1] - fill
        return self._convolve(padded, onto), padded[..., end - self.context : end].clone()

    def _check_step(self, x: Tensor, fill: int, final: bool) -> None:
        if not self.causal:
            raise ShapeError("only a causal convolution works piece by piece: use chunks that overlap for this one")
        if fill and not final:
            raise ShapeError(f"a piece must be a multiple of stride {self.stride[0]}; got {x.shape[-1]}: buffer the rest")

    def _convolve(self, padded: Tensor, onto: Tensor | None) -> Tensor:
        packed = self._pack(padded)
        if packed is None:
            y = F.conv1d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        elif self.norm is None and onto is not None:
            return rows.convolve(packed, padded.transpose(1, 2), onto.transpose(1, 2)).transpose(1, 2)
        else:
            y = rows.convolve(packed, padded.transpose(1, 2)).transpose(1, 2)
        y = y if self.norm is None else self.norm.overwrite(y)
        return y if onto is None else onto + y

    def _make_pack(self) -> rows.Packed | None:
        if self.groups > 1:
            return None
        return rows.pack_conv(self.weight, self.bias, self.stride[0], self.dilation[0])


class ConvTranspose1d(_Packs, nn.ConvTranspose1d):
    """Transposed convolution whose output has exactly time * stride samples: kernel - stride are trimmed.

    A causal layer trims all of it at the end. State: the last inputs that the kernel still overlaps, zeros at first,
    [batch, in_channels, ceil(kernel / stride) - 1].
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
        causal: bool = False,
        norm: str = "none",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, groups=groups, bias=bias)
        self.causal = causal
        self.norm = _norm(norm, out_channels, causal)

    @property
    def context(self) -> int:
        """Inputs before the current one that one output sees."""
        return -(-self.kernel_size[0] // self.stride[0]) - 1

    @property
    def trim(self) -> int:
        """Samples cut in front."""
        excess = self.kernel_size[0] - self.stride[0]
        return 0 if self.causal else excess - excess // 2

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return the first and last input that output samples `first` to `last` see."""
        stride = self.stride[0]
        return -((self.kernel_size[0] - 1 - first - self.trim) // stride), (last + self.trim) // stride

    def initial_state(self, batch: int) -> Tensor:
        """Return the state before the first input."""
        return self.weight.new_zeros(batch, self.in_channels, self.context)

    def forward(self, x: Tensor, before: Activation | None = None) -> Tensor:
        """Return x, or its activation `before`, upsampled: [batch, out_channels, time * stride]."""
        if self.causal:
            return self.step(x, self.initial_state(x.shape[0]), before=before)[0]
        y = self._convolve(surround(x, self.context, self.context, "constant", before))
        stride = self.stride[0]
        y = y[..., : (x.shape[-1] - 1) * stride + self.kernel_size[0]]
        y = y if self.norm is None else self.norm.overwrite(y)  # what is trimmed counts in the norm
        return y[..., self.trim : self.trim + x.shape[-1] * stride]

    def step(self, x: Tensor, state: Tensor, final: bool = False, before: Activation | None = None) -> tuple[Tensor, Tensor]:
        """Upsample the next piece, or its activation; return its output and the new state."""
        if not self.causal:
            raise ShapeError("only a causal transposed convolution works piece by piece: use chunks that overlap for this one")
        if not x.shape[-1]:
            return x.new_zeros(x.shape[0], self.out_channels, 0), state
        joined = surround(x, state, 0, "constant", before)
        return self._convolve(joined), joined[..., joined.shape[-1] - self.context :].clone()

    def _convolve(self, joined: Tensor) -> Tensor:
        """Return the stride outputs of every input that has all of its context before it."""
        if (packed := self._pack(joined)) is not None:
            y = rows.convolve(packed, joined.transpose(1, 2))
            return y.view(y.shape[0], -1, self.out_channels).transpose(1, 2)
        y = F.conv_transpose1d(joined, self.weight, self.bias, self.stride, 0, 0, self.groups)
        stride = self.stride[0]
        return y[..., self.context * stride : joined.shape[-1] * stride]

    def _make_pack(self) -> rows.Packed | None:
        return None if self.groups > 1 else rows.pack_transposed(self.weight, self.bias, self.stride[0])


def _norm(kind: str, channels: int, causal: bool) -> TimeGroupNorm | None:
    if kind == "none":
        return None
    if kind != "time_group_norm" or causal:
        raise ShapeError(f"norm must be none, or time_group_norm where the layer is not causal; got {kind!r}")
    return TimeGroupNorm(channels)

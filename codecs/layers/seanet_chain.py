"""SEANet's layers as one chain of `kernels.chain`: causal ones with ELU, on the CPU, without gradients."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...kernels import native
from ...kernels.chain import SOURCES, Chain, Rows, Step, View, pack
from .conv import Conv1d, ConvTranspose1d
from .padding import surround
from .rows import transposed

if TYPE_CHECKING:
    from .seanet import SEANetConfig, SEANetDecoder, SEANetEncoder

TILE_ROWS = 32  # of a tile at the layers with the largest weights, which each tile reads once


class _Builder:
    """Puts together a chain of SEANet's layers; `x` are the rows as they are, `active` their ELU."""

    def __init__(self, config: "SEANetConfig", start: int, given: Rows, result: Rows) -> None:
        self.chain = Chain(given, result, max(start, -(-TILE_ROWS // config.ratios[0])))
        self.x, self.active = given, given

    def put(self, step: Step) -> None:
        """Add a step, whose output the next one takes."""
        self.chain.steps.append(step)
        self.x, self.active = step.out or self.x, step.active or self.active

    def enter(self, kept: int) -> None:
        """ELU of the rows that are given."""
        given = self.chain.given
        self.put(Step(given.rows, given.width, [], None, onto=given, active=Rows(given.width, given.rows, kept)))

    def conv(self, conv: Conv1d, source: Rows, kept: int | None, out: bool) -> None:
        """A convolution of `source`; its ELU keeps so many rows, or there is none."""
        rows, width = source.rows // conv.stride[0], conv.out_channels
        matrix, views = _matrix(conv.weight), _views(conv, source)
        self.put(Step(rows, width, views, pack(matrix), conv.bias, **self._targets(width, rows, kept, out)))

    def up(self, conv: ConvTranspose1d, kept: int) -> None:
        """A transposed convolution."""
        rows, stride, width = self.active.rows, conv.stride[0], conv.out_channels
        matrices, bias = transposed(conv.weight, conv.bias, stride)
        view = View(self.active, len(matrices) * conv.in_channels, -conv.context)
        targets = self._targets(width, rows * stride, kept, True)
        self.put(Step(rows, stride * width, [view], pack(matrices.flatten(0, 1)), bias, **targets))

    def residual(self, block: Any, kept: int | None, out: bool) -> None:
        """A residual block."""
        skip, rows = self.x, self.x.rows
        self.conv(block.conv1, self.active, 0, False)
        matrix, bias, views = _matrix(block.conv2.weight), block.conv2.bias, [View(self.active, self.active.width)]
        if block.shortcut is not None:
            matrix, bias = torch.cat([matrix, _matrix(block.shortcut.weight)]), _sum(bias, block.shortcut.bias)
            views.append(View(skip, skip.width))
        onto = skip if block.shortcut is None else None
        targets = self._targets(skip.width, rows, kept, out)
        self.put(Step(rows, skip.width, views, pack(matrix), bias, onto, **targets))

    def blocks(self, blocks: Sequence[Any], kept: int | None, out: bool) -> None:
        """Residual blocks, whose last one writes what is asked for."""
        for block, after in pairwise(blocks):
            self.residual(block, after.conv1.context, True)
        self.residual(blocks[-1], kept, out)

    def _targets(self, width: int, rows: int, kept: int | None, out: bool) -> dict[str, Rows | None]:
        """Return where a step's output goes: `out`, which is the chain's result where there is no ELU of it, and `active`."""
        active = None if kept is None else Rows(width, rows, kept)
        return {"out": (Rows(width, rows) if active else self.chain.result) if out else None, "active": active}


def encoder_chain(encoder: "SEANetEncoder") -> Chain | None:
    """Return the chain from audio to what the last strided convolution takes, or None where there can be none."""
    config, stages = encoder.config, _stages(encoder)
    if not _fits(config, encoder.first.weight):
        return None
    given, last = Rows(config.channels, config.hop, encoder.first.context), stages[-1]
    build = _Builder(config, encoder.start_frames, given, Rows(last.down.in_channels, config.ratios[0]))
    build.conv(encoder.first, given, stages[0].blocks[0].conv1.context, True)
    for stage, after in pairwise(stages):
        build.blocks(stage.blocks, stage.down.context, False)
        build.conv(stage.down, build.active, after.blocks[0].conv1.context, True)
    build.blocks(last.blocks, None, True)
    return build.chain


def decoder_chain(decoder: "SEANetDecoder") -> Chain | None:
    """Return the chain from what the first transposed convolution gives to audio, or None where there can be none."""
    config, stages = decoder.config, _stages(decoder)
    if not _fits(config, decoder.last.weight):
        return None
    given = Rows(stages[0].up.out_channels, config.ratios[0])
    build = _Builder(config, decoder.start_frames, given, Rows(config.channels, config.hop))
    build.enter(stages[0].blocks[0].conv1.context)
    for stage, after in pairwise(stages):
        build.blocks(stage.blocks, after.up.context, False)
        build.up(after.up, after.blocks[0].conv1.context)
    build.blocks(stages[-1].blocks, decoder.last.context, False)
    build.conv(decoder.last, build.active, None, True)
    return build.chain


def run(chain: Chain, x: Tensor, states: Sequence[Tensor], pad_mode: str) -> tuple[Tensor, list[Tensor]]:
    """Return what the chain makes of whole units x [batch, channels, time], and the new states, all [batch, channels, time].

    Args:
        states: of the convolution that takes x, where that has one, and of those within; as `Conv1d.step` has them.
    """
    lead, before = chain.given.kept, states[:1] if chain.given.kept else []
    if lead:
        x = surround(x, before[0] if before[0].shape[-1] else lead, 0, pad_mode)
    units, within = (x.shape[-1] - lead) // chain.given.rows, states[len(before) :]
    parts = [[t[n].T.contiguous() for t in (x, *within)] for n in range(len(x))]
    results = [chain.run(part[0], units, part[1:]) for part in parts]
    after = [torch.stack(kept).transpose(1, 2) for kept in zip(*(kept for _, kept in results), strict=True)]
    head = [x[..., x.shape[-1] - lead :].clone()] if lead else []
    return torch.stack([y for y, _ in results]).transpose(1, 2), head + after


def _stages(net: "SEANetEncoder | SEANetDecoder") -> list[Any]:
    return list(net.stages)


def _fits(config: "SEANetConfig", weight: Tensor) -> bool:
    known = config.causal and config.activation == "elu" and config.norm == "none"
    known = known and config.pad_mode in ("constant", "reflect")
    sizes = config.residual_kernel <= SOURCES and config.residual_layers > 0
    plain = weight.dtype == torch.float32 and weight.device.type == "cpu"
    return known and sizes and plain and native.products() is not None


def _views(conv: Conv1d, source: Rows) -> list[View]:
    kernel, dilation, width = conv.kernel_size[0], conv.dilation[0], conv.in_channels
    if dilation == 1:
        return [View(source, kernel * width, -conv.context, conv.stride[0])]
    return [View(source, width, j * dilation - conv.context, conv.stride[0]) for j in range(kernel)]


def _matrix(weight: Tensor) -> Tensor:
    """Return a convolution's weight [out, in, kernel] as [kernel * in, out]."""
    return weight.permute(2, 1, 0).flatten(0, 1)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return a + b if a is not None and b is not None else a if b is None else b

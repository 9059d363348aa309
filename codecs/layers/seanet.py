"""SEANet: the convolutional encoder and decoder of EnCodec, Mimi, SpeechTokenizer and WavTokenizer, one with switches.

    encoder: conv, then per stride (residual blocks, activation, strided conv), LSTM, activation, conv
    decoder: conv, LSTM, then per stride (activation, transposed conv, residual blocks), activation, conv

Source: Tagliasacchi et al., "SEANet", 2020; Défossez et al., "High Fidelity Neural Audio Compression", 2022.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ...kernels.chain import Chain
from ...kernels.workers import share
from ..errors import CheckpointError
from . import rows, seanet_chain
from .activation import activation
from .conv import Conv1d, ConvTranspose1d
from .lstm import SkipLSTM
from .packs import Packs
from .padding import PAD_MODES, join_time
from .walk import Walk, has_state, span_of

BLOCK_FRAMES = 64  # frames at most that the CPU's path takes at once, so that activations stay in its cache,
BLOCK_VALUES = 2**20  # and values in the widest of them
CHAIN_FRAMES = 256  # frames at once where a chain in C sees to that itself
LONG_FRAMES = 512  # frames that a network that is not causal takes at once, so that memory hardly grows with the audio

ByLayers = Callable[[Tensor, Walk], Tensor]


@dataclass(frozen=True)
class SEANetConfig:
    """The switches.

    Attributes:
        channels: of the audio.
        dimension: channels of the latents.
        filters: channels after the first convolution; every stride doubles them.
        ratios: strides in the order of the decoder; the encoder goes through them backwards.
        kernel, last_kernel, residual_kernel: sizes of the first, last and residual convolutions.
        residual_layers: residual blocks per stride; the n-th has dilation `dilation_base` ** n.
        compress: residual blocks are narrower by this factor inside.
        causal: pad in front only.
        pad_mode: "reflect", "constant" or "replicate".
        norm: "none" (weight norm is folded into the weights) or "time_group_norm".
        true_skip: residual blocks add their input itself, not a 1x1 convolution of it.
        lstm: layers, 0 for none.
        bidirectional: the encoder's LSTM runs both ways, and its output is twice as wide.
        activation: "elu" or "snake".
    """

    channels: int = 1
    dimension: int = 128
    filters: int = 32
    ratios: tuple[int, ...] = (8, 5, 4, 2)
    kernel: int = 7
    last_kernel: int = 7
    residual_kernel: int = 3
    residual_layers: int = 1
    dilation_base: int = 2
    compress: int = 2
    causal: bool = True
    pad_mode: str = "reflect"
    norm: str = "none"
    true_skip: bool = False
    lstm: int = 2
    bidirectional: bool = False
    activation: str = "elu"

    def __post_init__(self) -> None:
        known = self.norm in ("none", "time_group_norm") and self.activation in ("elu", "snake")
        if not known or self.pad_mode not in PAD_MODES:
            raise CheckpointError(
                f"SEANet knows norm none or time_group_norm, pad_mode {', '.join(PAD_MODES)}, activation elu or snake; "
                f"got {self.norm!r}, {self.pad_mode!r}, {self.activation!r}"
            )
        if self.causal and (self.bidirectional or self.norm != "none"):
            raise CheckpointError("a causal SEANet can have neither a bidirectional LSTM nor time_group_norm")

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.ratios)

    @property
    def block(self) -> int:
        """Frames that the CPU's path takes at once."""
        return max(1, min(BLOCK_FRAMES, BLOCK_VALUES // (self.hop * self.filters)))

    @property
    def widest(self) -> int:
        """Channels next to the latents."""
        return self.filters * 2 ** len(self.ratios)


class ResidualBlock(nn.Module):
    """x, or a 1x1 convolution of it, plus two convolutions of it."""

    def __init__(self, config: SEANetConfig, width: int, layer: int) -> None:
        super().__init__()
        inner = width // config.compress
        self.act1 = activation(config.activation, width)
        self.conv1 = _conv(config, width, inner, config.residual_kernel, dilation=config.dilation_base**layer)
        self.act2 = activation(config.activation, inner)
        self.conv2 = _conv(config, inner, width, 1)
        self.shortcut = None if config.true_skip else _conv(config, width, width, 1)

    def layers(self) -> list[nn.Module]:
        """Return the convolutions that see more than one sample."""
        return [self.conv1]

    def run(self, x: Tensor, walk: Walk) -> Tensor:
        """Return the block's output."""
        inner = self.act2.overwrite(walk(self.conv1, x, before=self.act1))
        return self.conv2(inner, onto=x if self.shortcut is None else self.shortcut(x))


class EncoderStage(nn.Module):
    """Residual blocks, then a strided convolution to twice the channels."""

    def __init__(self, config: SEANetConfig, width: int, stride: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(config, width, n) for n in range(config.residual_layers))
        self.act = activation(config.activation, width)
        self.down = _conv(config, width, 2 * width, 2 * stride, stride=stride)

    def refine(self, x: Tensor, walk: Walk) -> Tensor:
        """Return the output of the blocks."""
        for block in self.blocks:
            x = block.run(x, walk)  # type: ignore[operator]
        return x

    def reduce(self, x: Tensor, walk: Walk) -> Tensor:
        """Return the strided convolution of the blocks' output."""
        return walk(self.down, x, before=self.act)


class DecoderStage(nn.Module):
    """A transposed convolution to half the channels, then residual blocks."""

    def __init__(self, config: SEANetConfig, width: int, stride: int) -> None:
        super().__init__()
        self.act = activation(config.activation, 2 * width)
        self.up = ConvTranspose1d(2 * width, width, 2 * stride, stride, causal=config.causal, norm=config.norm)
        self.blocks = nn.ModuleList(ResidualBlock(config, width, n) for n in range(config.residual_layers))

    def expand(self, x: Tensor, walk: Walk) -> Tensor:
        """Return the transposed convolution, which the blocks take."""
        return walk(self.up, x, before=self.act)

    def refine(self, x: Tensor, walk: Walk) -> Tensor:
        """Return the output of the blocks."""
        for block in self.blocks:
            x = block.run(x, walk)  # type: ignore[operator]
        return x


class _SEANet(Packs):
    """What encoder and decoder share: states, spans, and `forward` as the walk over the whole."""

    config: SEANetConfig

    def layers(self) -> Iterator[nn.Module]:
        """Yield the layers that see more than one frame or sample, in order."""
        raise NotImplementedError

    @property
    def start_frames(self) -> int:
        """Frames that the first piece must hold, so that every layer's padding is certain."""
        raise NotImplementedError

    def initial_state(self, batch: int) -> list[Tensor]:
        """Return one state per layer that needs one, before the first piece."""
        return [layer.initial_state(batch) for layer in self.layers() if has_state(layer)]  # type: ignore[operator]

    def span(self, first: int, last: int) -> tuple[int, int] | None:
        """Return the first and last input that outputs `first` to `last` see, or None where they see everything."""
        return span_of(self.layers(), first, last)

    def _share(
        self, by_layers: ByLayers, layers: list[nn.Module], x: Tensor, walk: Walk, step: int, out: int
    ) -> Tensor:  # fmt: skip
        """Return causal layers' output of x, on the CPU in blocks that threads share; the walk goes on from the last block.

        The chain in C takes the layers' place where there is one. A thread that begins inside x walks in from the frames before
        that its first frame sees.

        Args:
            step, out: values of x, and of the result, per frame.
        """
        chain = self._kept(self.parameters(), self._make_chain) if rows.usable(x) else None
        run = by_layers if chain is None else partial(self._by_chain, chain, by_layers)
        threads, frames = torch.get_num_threads(), -(-x.shape[-1] // step)
        block = max(0 if chain is None else min(CHAIN_FRAMES, frames // threads), self.config.block, self.start_frames)
        count, span = frames // block, span_of(layers, 0, out - 1)
        count = count // threads * threads or count
        if walk.before is None or span is None or count < 2 or not rows.usable(x):
            return run(x, walk)
        seen, bounds = -(span[0] // step), [frames * n // count for n in range(count + 1)]
        begin = [next(walk.before) for layer in layers if has_state(layer)]
        fresh = [layer.initial_state(x.shape[0]) for layer in layers if has_state(layer)]  # type: ignore[operator]
        pieces, after = [x] * count, begin

        def work_on(parts: Iterator[slice]) -> None:
            nonlocal after
            for part in parts:
                lead = min(seen, bounds[part.start])
                state = fresh if lead < bounds[part.start] else begin
                for n in range(part.start, part.stop):
                    block_walk = Walk(state, walk.final and n == count - 1)
                    y = run(x[..., (bounds[n] - lead) * step : bounds[n + 1] * step], block_walk)
                    pieces[n], state, lead = y[..., lead * out :], block_walk.after, 0
                after = state if part.stop == count else after

        share(work_on, count, lambda workers: -(-count // workers), 2 * frames * sum(p.numel() for p in self.parameters()))
        walk.after += [state.clone() for state in after]
        return join_time(pieces)

    def _make_chain(self) -> Chain | None:
        raise NotImplementedError

    def _by_chain(self, chain: Chain, by_layers: ByLayers, x: Tensor, walk: Walk) -> Tensor:
        """Return what the chain makes of all whole frames of x, and the layers one by one of the rest, or of all of x."""
        frames = x.shape[-1] // chain.given.rows
        if walk.before is None or frames < self.start_frames:
            return by_layers(x, walk)
        states = [next(walk.before) for _ in range(len(chain.kept) + bool(chain.given.kept))]
        whole, rest = x[..., : frames * chain.given.rows], x[..., frames * chain.given.rows :]
        y, states = seanet_chain.run(chain, whole, states, self.config.pad_mode)
        if rest.shape[-1]:
            last = Walk(states, walk.final)
            y, states = join_time([y, by_layers(rest, last)]), last.after
        walk.after += states
        return y

    def _each(self, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return `run` of every item of a batch by itself, shared between threads."""
        items, results = x.split(1), [x] * x.shape[0]

        def work_on(parts: Iterator[slice]) -> None:
            for part in parts:
                results[part] = [run(item) for item in items[part]]

        share(work_on, len(items), lambda workers: 1, 2 * x.shape[-1] * sum(p.numel() for p in self.parameters()))
        return torch.cat(results)


class SEANetEncoder(_SEANet):
    """Audio [batch, channels, samples] to latents [batch, dimension, ceil(samples / hop)]."""

    def __init__(self, config: SEANetConfig) -> None:
        super().__init__()
        self.config = config
        self.first = _conv(config, config.channels, config.filters, config.kernel)
        widths = [config.filters * 2**n for n in range(len(config.ratios))]
        pairs = zip(widths, reversed(config.ratios), strict=True)
        self.stages = nn.ModuleList(EncoderStage(config, width, stride) for width, stride in pairs)
        self.lstm = SkipLSTM(config.widest, config.lstm, config.bidirectional) if config.lstm else None
        widest = config.widest * (2 if config.bidirectional and config.lstm else 1)
        self.act = activation(config.activation, widest)
        self.last = _conv(config, widest, config.dimension, config.last_kernel)

    @property
    def start_frames(self) -> int:
        """Frames that the first piece must hold, so that every layer's padding is certain."""
        if self.config.pad_mode != "reflect":
            return 1
        rates, rate = [], self.config.hop
        for layer in self.layers():
            if isinstance(layer, Conv1d):
                rates.append(-(-(layer.context + 1) // rate))
                rate //= layer.stride[0]
        return max(rates)

    def layers(self) -> Iterator[nn.Module]:
        """Yield the layers that see more than one sample, in order."""
        yield from self._front_layers()
        if self.lstm is not None:
            yield self.lstm
        yield self.last

    def _front_layers(self) -> Iterator[nn.Module]:
        yield self.first
        for stage in self.stages:
            for block in stage.blocks:  # type: ignore[union-attr]
                yield from block.layers()  # type: ignore[operator]
            yield stage.down  # type: ignore[misc]

    def forward(self, x: Tensor) -> Tensor:
        """Return the latents of a whole signal."""
        if self.config.causal:
            return self.step(x, self.initial_state(x.shape[0]), final=True)[0]
        # one item at a time through the wide layers, all through the LSTM
        shared = rows.usable(x) and x.shape[0] > 1
        frames = self._each(self._long_front, x) if shared else self._long_front(x)
        return self._back(frames, Walk())

    def _long_front(self, x: Tensor) -> Tensor:
        """Return the front's output, of long audio in blocks that overlap by what their frames see."""
        hop, seen = self.config.hop, span_of(self._front_layers(), 0, 0)
        if seen is None or x.shape[-1] <= 2 * LONG_FRAMES * hop:
            return self._front(x, Walk())
        before, after = -(seen[0] // hop), seen[1] // hop + 1
        pieces = []
        for at in range(0, -(-x.shape[-1] // hop), LONG_FRAMES):
            start = max(0, at - 2 * before)  # what is mirrored at the end reaches twice as far
            y = self._front(x[..., start * hop : (at + LONG_FRAMES + after) * hop], Walk())
            pieces.append(y[..., at - start : at - start + LONG_FRAMES])
        return join_time(pieces)

    def step(self, x: Tensor, state: list[Tensor], final: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Return the latents of the next piece, a multiple of `hop` samples unless it is final, and the new state.

        The first piece must hold `start_frames` frames unless it is final.
        """
        walk = Walk(state, final)
        # the last stride's weights are so large that blocks would spend half of their time on reading them
        wide = self._share(self._wide, list(self._front_layers())[:-1], x, walk, self.config.hop, self.config.ratios[0])
        return self._back(self.stages[-1].reduce(wide, walk), walk), walk.after  # type: ignore[operator]

    def _front(self, x: Tensor, walk: Walk) -> Tensor:
        return self.stages[-1].reduce(self._wide(x, walk), walk)  # type: ignore[operator]

    def _wide(self, x: Tensor, walk: Walk) -> Tensor:
        """Return what the last strided convolution takes."""
        x = walk(self.first, x)
        *stages, last = self.stages
        for stage in stages:
            x = stage.reduce(stage.refine(x, walk), walk)  # type: ignore[operator]
        return last.refine(x, walk)  # type: ignore[operator]

    def _make_chain(self) -> Chain | None:
        return seanet_chain.encoder_chain(self)

    def _back(self, x: Tensor, walk: Walk) -> Tensor:
        if self.lstm is not None:
            x = walk(self.lstm, x)
        return walk(self.last, x, before=self.act)


class SEANetDecoder(_SEANet):
    """Latents [batch, dimension, frames] to audio [batch, channels, frames * hop]."""

    def __init__(self, config: SEANetConfig) -> None:
        super().__init__()
        self.config = config
        self.first = _conv(config, config.dimension, config.widest, config.kernel)
        self.lstm = SkipLSTM(config.widest, config.lstm) if config.lstm else None
        widths = [config.filters * 2**n for n in reversed(range(len(config.ratios)))]
        pairs = zip(widths, config.ratios, strict=True)
        self.stages = nn.ModuleList(DecoderStage(config, width, stride) for width, stride in pairs)
        self.act = activation(config.activation, config.filters)
        self.last = _conv(config, config.filters, config.channels, config.last_kernel)

    @property
    def start_frames(self) -> int:
        """Frames that the first piece must hold, so that every layer's padding is certain."""
        if self.config.pad_mode != "reflect":
            return 1
        rates, rate = [], 1
        for layer in self.layers():
            if isinstance(layer, Conv1d):
                rates.append(-(-(layer.context + 1) // rate))
            elif isinstance(layer, ConvTranspose1d):
                rate *= layer.stride[0]
        return max(rates)

    def layers(self) -> Iterator[nn.Module]:
        """Yield the layers that see more than one frame or sample, in order."""
        yield self.first
        if self.lstm is not None:
            yield self.lstm
        for stage in self.stages:
            yield stage.up  # type: ignore[misc]
            for block in stage.blocks:  # type: ignore[union-attr]
                yield from block.layers()  # type: ignore[operator]
        yield self.last

    def forward(self, x: Tensor) -> Tensor:
        """Return the audio of all frames."""
        if self.config.causal:
            return self.step(x, self.initial_state(x.shape[0]), final=True)[0]
        x = self._front(x, Walk())
        if rows.usable(x) and x.shape[0] > 1:
            return self._each(self._long_back, x)
        return self._long_back(x)

    def _long_back(self, x: Tensor) -> Tensor:
        """Return the back's output, of many frames in blocks that overlap by what their samples see."""
        hop = self.config.hop
        seen = span_of(self._back_layers(), 0, hop - 1)
        if seen is None or x.shape[-1] <= 2 * LONG_FRAMES:
            return self._back(x, Walk())
        pieces = []
        for at in range(0, x.shape[-1], LONG_FRAMES):
            start = max(0, at + 2 * seen[0])  # what is mirrored at the end reaches twice as far
            y = self._back(x[..., start : at + LONG_FRAMES + seen[1]], Walk())
            pieces.append(y[..., (at - start) * hop : (at - start + LONG_FRAMES) * hop])
        return torch.cat(pieces, dim=-1)

    def step(self, x: Tensor, state: list[Tensor], final: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Return the audio of the next frames, and the new state; the first piece needs `start_frames` unless it is final."""
        walk = Walk(state, final)
        # as in the encoder, the largest weights take all frames at once
        x = self.stages[0].expand(self._front(x, walk), walk)  # type: ignore[operator]
        layers, step = self._back_layers()[1:], self.config.ratios[0]
        return self._share(self._sound, layers, x, walk, step, self.config.hop), walk.after

    def _back_layers(self) -> list[nn.Module]:
        return list(self.layers())[1 + (self.lstm is not None) :]

    def _front(self, x: Tensor, walk: Walk) -> Tensor:
        x = walk(self.first, x)
        return x if self.lstm is None else walk(self.lstm, x)

    def _back(self, x: Tensor, walk: Walk) -> Tensor:
        return self._sound(self.stages[0].expand(x, walk), walk)  # type: ignore[operator]

    def _make_chain(self) -> Chain | None:
        return seanet_chain.decoder_chain(self)

    def _sound(self, x: Tensor, walk: Walk) -> Tensor:
        """Return the audio of what the first transposed convolution gave."""
        first, *stages = self.stages
        # a block adds to its input in place where the skip is the input itself, and threads share some of x
        x = first.refine(x.clone() if self.config.true_skip else x, walk)  # type: ignore[operator]
        for stage in stages:
            x = stage.refine(stage.expand(x, walk), walk)  # type: ignore[operator]
        return walk(self.last, x, before=self.act)


def _conv(config: SEANetConfig, width: int, out: int, kernel: int, stride: int = 1, dilation: int = 1) -> Conv1d:
    return Conv1d(
        width, out, kernel, stride, dilation, causal=config.causal, pad_mode=config.pad_mode, norm=config.norm
    )  # fmt: skip

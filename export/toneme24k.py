"""The two networks of `codecs.toneme24k`, with Fourier transforms as products."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ..codecs.layers.convnext import CausalStack
from ..codecs.toneme24k import STRAIGHT_LEVEL, TonemeCodec
from .fourier import PlainISTFT, PlainSTFT, framed, overlap_add
from .graph import Direction, Network, Port
from .manifest import Side
from .search import CodeTable, ResidualSearch

MOST = 256  # frames of one call


class PlainAnalysis(nn.Module):
    """`codecs.layers.lapped.LappedAnalysis` without views into overlapping memory."""

    def __init__(self, basis: Tensor, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.basis = nn.Parameter(basis.detach().clone())

    def step(self, waveform: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Transform the next samples, a multiple of `hop`."""
        joined = torch.cat([state, waveform], dim=1)
        frames = framed(joined, 2 * self.hop, self.hop)
        energy = frames.square().sum(-1, keepdim=True)
        return (frames / (energy + 2 * self.hop * 1e-8).sqrt()) @ self.basis.T, joined[:, -self.hop :]


class PlainStack(nn.Module):
    """`codecs.layers.convnext.CausalStack` with taps gathered, and products of two axes, which take their bias along."""

    def __init__(self, stack: CausalStack) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(copy.deepcopy(block) for block in stack.blocks)
        taps = [block.mix.weight.detach()[:, 0].T.contiguous() for block in stack.blocks]  # [kernel, channels]
        self.taps = nn.ParameterList(taps)

    def step(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output of the last block for the next frames [batch, frames, channels]."""
        after = []
        for block, taps, before in zip(self.blocks, self.taps, state, strict=True):
            joined = torch.cat([before, x], dim=1)
            after.append(joined[:, -before.shape[1] :])
            x = x + self._inner(block, taps, joined, x.shape)
        return x, after

    def _inner(self, block: Any, taps: Tensor, joined: Tensor, shape: torch.Size) -> Tensor:
        batch, frames, channels = shape
        places = torch.arange(frames)[:, None] + torch.arange(taps.shape[0])
        seen = joined.index_select(1, places.reshape(-1)).reshape(batch, frames, taps.shape[0], channels)
        mixed = (seen * taps).sum(2) + block.mix.bias
        rows = block.norm(mixed).reshape(batch * frames, channels)
        return block.scale * block.narrow(nn.functional.gelu(block.widen(rows))).reshape(batch, frames, channels)


class TonemeEncoder(Network):
    """Samples to codes, the first of which stand for time before the start."""

    def __init__(self, codec: TonemeCodec, codebooks: int) -> None:
        super().__init__()
        config = codec.config
        self.takes = (Port("audio", ("batch", 1, f"{config.hop}*frames")),)
        self.gives = (Port("codes", ("batch", codebooks, "frames")),)
        self.initial = codec.encoder.initial_state
        self.encoder = copy.deepcopy(codec.encoder)
        self.encoder.stft = PlainSTFT(config.window, config.stft_hop, codec.encoder.stft.taper)  # type: ignore[assignment]
        self.encoder.straight = PlainAnalysis(codec.encoder.straight.basis, config.hop)  # type: ignore[assignment]
        self.encoder.fast, self.encoder.slow = (PlainStack(part) for part in (codec.encoder.fast, codec.encoder.slow))  # type: ignore[assignment]
        self.search = ResidualSearch(codec.quantizer.codebooks[:codebooks])

    def states(self, batch: int) -> dict[str, Tensor]:
        stft, fast, slow, straight = self.initial(batch)
        return {"stft": stft, **named("fast", fast), **named("slow", slow), "straight": straight}

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        before = [states["stft"], listed("fast", states), listed("slow", states), states["straight"]]
        latents, (stft, fast, slow, straight) = self.encoder.step(inputs[0][:, 0], before)
        after = {"stft": stft, **named("fast", fast), **named("slow", slow), "straight": straight}
        return (self.search(latents),), after


class TonemeDecoder(Network):
    """Codes to samples, the first of which stand for time before the start; silent codes push the last ones out."""

    enter: nn.Module
    apart: nn.Module
    norm: nn.Module
    leave: nn.Module
    gain: nn.Module

    def __init__(self, codec: TonemeCodec, codebooks: int) -> None:
        super().__init__()
        config, decoder = codec.config, codec.decoder
        self.fold, self.hop = config.fold, config.hop
        self.takes = (Port("codes", ("batch", "codebooks", "frames")),)
        self.gives = (Port("audio", ("batch", 1, f"{config.hop}*frames")),)
        self.initial = decoder.initial_state
        self.table = CodeTable(codec.quantizer.codebooks[:codebooks])
        for name in ("enter", "apart", "norm", "leave", "gain"):
            self.add_module(name, copy.deepcopy(decoder.get_submodule(name)))
        self.slow, self.fast = PlainStack(decoder.slow), PlainStack(decoder.fast)
        self.istft = PlainISTFT(config.window, config.stft_hop, decoder.istft.taper)
        self.basis = nn.Parameter(decoder.straight.basis.detach().clone())
        self.delay = decoder.straight.delay

    def states(self, batch: int) -> dict[str, Tensor]:
        slow, fast, istft, straight = self.initial(batch)
        return {**named("slow", slow), **named("fast", fast), "istft": istft, "straight": straight}

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        latents = self.table(inputs[0])
        x, slow = self.slow.step(self.enter(latents), listed("slow", states))
        shape = latents * (self.gain(x).clamp(max=5.0).exp() / STRAIGHT_LEVEL)
        direct, straight = self._straight(shape, states["straight"])
        batch, frames, _ = latents.shape
        x = self.apart(x).reshape(batch, frames * self.fold, -1)
        x, fast = self.fast.step(x, listed("fast", states))
        level, real, imag = self.leave(self.norm(x)).chunk(3, dim=-1)
        gain = level.clamp(max=5.0).exp()
        waveform, istft = self.istft.step(gain * real, gain * imag, states["istft"])
        after = {**named("slow", slow), **named("fast", fast), "istft": istft, "straight": straight}
        return ((waveform + direct)[:, None],), after

    def _straight(self, coefficients: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        samples = coefficients.shape[1] * self.hop
        sound, overlap = overlap_add(coefficients @ self.basis, state[:, self.delay :], self.hop)
        joined = torch.cat([state[:, : self.delay], sound], dim=1)
        return joined[:, :samples], torch.cat([joined[:, samples:], overlap], dim=1)


def directions(codec: TonemeCodec, codebooks: int) -> tuple[Direction, Direction]:
    """Return how a codec is exported."""
    config, istft = codec.config, codec.decoder.istft
    encoder = Side(
        "encoder.onnx", "steps", config.hop, skip=config.lookahead // config.hop, tail=config.lookahead, most=MOST,
        delay=config.lookahead,
    )  # fmt: skip
    decoder = Side(
        "decoder.onnx", "steps", config.hop, skip=istft.delay, tail=codec.decoder.flush_frames, most=MOST, delay=istft.delay
    )
    sizes = {"batch": 2, "frames": 3}
    return (
        Direction(TonemeEncoder(codec, codebooks), encoder, sizes),
        Direction(TonemeDecoder(codec, codebooks), decoder, {**sizes, "codebooks": 2}),
    )


def named(stem: str, states: list[Tensor]) -> dict[str, Tensor]:
    """Return a list of states under the names `stem.0`, `stem.1` and so on."""
    return {f"{stem}.{n}": state for n, state in enumerate(states)}


def listed(stem: str, states: dict[str, Tensor]) -> list[Tensor]:
    """Return the states that `named` gave names to, in order."""
    return [state for name, state in states.items() if name.startswith(f"{stem}.")]

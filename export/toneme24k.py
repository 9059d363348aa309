"""The two networks of `codecs.toneme24k`, with Fourier transforms as products and as few operators as may be.

What a neighbour can take along it does: constants of the spectra's compression are in the next product's weights, bins come in
the order in which the transform leaves them, and both straight paths are one product over a few frames.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..codecs.toneme24k import STRAIGHT_LEVEL, Decoder, TonemeCodec
from .convnext import PlainStack
from .fourier import InverseRealFourier, RealFourier, sum_of
from .graph import Direction, Network, Port
from .manifest import Side
from .search import CodeTable, ResidualSearch

MOST = 256  # frames of one call


class TonemeEncoder(Network):
    """Samples to codes, the first of which stand for time before the start.

    States: `audio`, the samples that the next windows begin with, and those of both stacks.
    """

    taper: Tensor
    straight: Tensor

    def __init__(self, codec: TonemeCodec, codebooks: int) -> None:
        super().__init__()
        config, encoder = codec.config, codec.encoder
        self.config = config
        self.before = max(config.window - config.stft_hop, config.hop)
        self.takes = (Port("audio", ("batch", 1, f"{config.hop}*frames")),)
        self.gives = (Port("codes", ("batch", codebooks, "frames")),)
        self.fourier = RealFourier(config.window)
        self.register_buffer("taper", encoder.stft.taper.clone())
        basis = F.pad(encoder.straight.basis.detach().T, (0, config.taught_dim))
        self.register_buffer("straight", STRAIGHT_LEVEL * basis.contiguous())
        self.enter = entering(encoder.enter, self.fourier)
        self.pair, self.norm, self.leave = encoder.pair, encoder.norm, encoder.leave
        self.fast, self.slow = PlainStack(encoder.fast), PlainStack(encoder.slow)
        self.search = ResidualSearch(codec.quantizer.codebooks[:codebooks])

    def states(self, batch: int) -> dict[str, Tensor]:
        stacks = {**named("fast", self.fast.initial_state(batch)), **named("slow", self.slow.initial_state(batch))}
        return {"audio": self.taper.new_zeros(batch, 1, self.before), **stacks}

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        audio = torch.cat([states["audio"], inputs[0]], dim=2)
        batch, dim = audio.shape[0], self.config.encoder_dim
        x, fast = self.fast.step(self.enter(self._features(audio)).reshape(batch, -1, 1, dim), listed("fast", states))
        x = self.pair(x.reshape(-1, dim * self.config.fold)).reshape(batch, -1, 1, dim)
        x, slow = self.slow.step(x, listed("slow", states))
        latents = self.leave(self.norm(x).reshape(-1, dim)).reshape(batch, -1, self.config.width) + self._shapes(audio)
        after = {"audio": audio[..., -self.before :], **named("fast", fast), **named("slow", slow)}
        return (self.search(latents),), after

    def _features(self, audio: Tensor) -> Tensor:
        """Return compressed spectra, a row per window: what `codecs.toneme24k.compress` gives, but for constants."""
        config = self.config
        start = self.before - (config.window - config.stft_hop)
        frames = windows(audio[..., start:] if start else audio, config.window, config.stft_hop)
        tiles = self.fourier(frames * self.taper)
        energy = sum_of([*(tiles * tiles).split(1, dim=3)]) + 1e-8  # summed over the axis, twice as long
        features = torch.cat([tiles / energy.sqrt().sqrt(), energy.log()], dim=3)
        return features.reshape(-1, 3 * features.shape[2] * features.shape[4])

    def _shapes(self, audio: Tensor) -> Tensor:
        """Return what the straight path adds to the latents."""
        hop, start = self.config.hop, self.before - self.config.hop
        frames = windows(audio[..., start:] if start else audio, 2 * hop, hop)
        energy = (frames * frames).sum(-1, keepdim=True) + 2 * hop * 1e-8
        return (frames @ self.straight) / energy.sqrt()


def entering(enter: nn.Linear, fourier: RealFourier) -> nn.Linear:
    """Return the layer on compressed spectra for tiles [a, 3, rows] of real part, imaginary part and log of the energy.

    `compress` gives 2 |s|^-0.5 s and 1 + log(|s|) / 4; the tiles hold |s|^-0.5 s and log(|s|^2).
    """
    real, imag, log = enter.weight.detach().chunk(3, dim=1)
    parts = [fourier.tiled(part) for part in (2 * real, 2 * imag, log / 8)]
    layer = nn.Linear(3 * parts[0][0].numel(), enter.out_features)
    layer.weight = nn.Parameter(torch.stack(parts, dim=2).flatten(1))
    layer.bias = nn.Parameter(enter.bias.detach() + log.double().sum(1).float())
    return layer


class TonemeDecoder(Network):
    """Codes to samples, the first of which stand for time before the start; silent codes push the last ones out.

    States: `windows`, those that still sound; `straight`, coefficients of the last frames; and those of both stacks.
    """

    taper: Tensor
    basis: Tensor

    def __init__(self, codec: TonemeCodec, codebooks: int) -> None:
        super().__init__()
        config, decoder = codec.config, codec.decoder
        self.config = config
        self.takes = (Port("codes", ("batch", "codebooks", "frames")),)
        self.gives = (Port("audio", ("batch", 1, f"{config.hop}*frames")),)
        self.table = CodeTable(codec.quantizer.codebooks[:codebooks])
        self.enter, self.apart, self.norm, self.gain = decoder.enter, decoder.apart, decoder.norm, decoder.gain
        self.slow, self.fast = PlainStack(decoder.slow), PlainStack(decoder.fast)
        self.fourier = InverseRealFourier(config.window)
        self.leave = leaving(decoder.leave, self.fourier)
        self.register_buffer("taper", decoder.istft.taper.clone())
        self.register_buffer("basis", delayed(decoder, config.hop))
        self.least = min(1, decoder.straight.delay // config.hop)  # frames after its own in which one sounds first
        self.reach = self.least + self.basis.shape[0] - 1

    def states(self, batch: int) -> dict[str, Tensor]:
        config = self.config
        stacks = {**named("slow", self.slow.initial_state(batch)), **named("fast", self.fast.initial_state(batch))}
        late = self.taper.new_zeros(batch, config.window // config.stft_hop - 1, config.window)
        return {**stacks, "windows": late, "straight": self.taper.new_zeros(batch, self.reach, config.latent_dim)}

    def run(self, inputs: tuple[Tensor, ...], states: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        latents = self.table(inputs[0])
        batch, frames, width = latents.shape
        x = self.enter(latents.reshape(-1, width)).reshape(batch, frames, 1, -1)
        x, slow = self.slow.step(x, listed("slow", states))
        rows = x.reshape(-1, x.shape[3])
        shaped = latents[..., : self.config.latent_dim] if self.config.taught_dim else latents
        shapes = shaped * self.gain(rows).clamp(max=5.0).exp().reshape(shaped.shape)
        direct, straight = self._straight(shapes, states["straight"])
        x, fast = self.fast.step(self.apart(rows).reshape(batch, frames * self.config.fold, 1, -1), listed("fast", states))
        pieces = self._windows(self.norm(x).reshape(-1, x.shape[3])).reshape(batch, -1, self.config.window)
        sound, late = laid(pieces * self.taper, states["windows"], self.config.stft_hop)
        audio = sound.reshape(direct.shape) + direct
        after = {**named("slow", slow), **named("fast", fast), "windows": late, "straight": straight}
        return (audio.reshape(batch, 1, frames * self.config.hop),), after

    def _windows(self, rows: Tensor) -> Tensor:
        level, parts = self.leave(rows).reshape(rows.shape[0], 3, -1).split([1, 2], dim=1)
        return self.fourier.untiled(parts * level.clamp(max=5.0).exp())

    def _straight(self, shapes: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the samples of the straight path [batch, frames, hop], in time with the other, and its state."""
        joined = torch.cat([state, shapes], dim=1)
        lates = range(self.least, self.reach + 1)
        seen = torch.cat([joined[:, self.reach - late : -late or None] for late in lates], dim=2)
        return seen @ self.basis.flatten(0, 1), joined[:, -self.reach :]


def leaving(leave: nn.Linear, fourier: InverseRealFourier) -> nn.Linear:
    """Return the last layer for level, real and imaginary part, each filled up and weighted as the transform wants them."""
    bins = fourier.weight.numel()
    scale = torch.stack([torch.ones_like(fourier.weight), fourier.weight, fourier.weight])[..., None]
    weight = F.pad(leave.weight.detach().unflatten(0, (3, bins)) * scale, (0, 0, 0, fourier.fill))
    bias = F.pad(leave.bias.detach().unflatten(0, (3, bins)) * scale[..., 0], (0, fourier.fill))
    layer = nn.Linear(leave.in_features, bias.numel())
    layer.weight, layer.bias = nn.Parameter(weight.flatten(0, 1)), nn.Parameter(bias.flatten())
    return layer


def delayed(decoder: Decoder, hop: int) -> Tensor:
    """Return what frames add in the straight path to the present one, [frames, dim, hop]: it first, then those before it.

    Where the path is late by a hop or more the present one adds nothing, and is left out.
    """
    delay = decoder.straight.delay
    basis = F.pad(decoder.straight.basis.detach() / STRAIGHT_LEVEL, (delay, -delay % hop))
    return basis.unflatten(1, (-1, hop)).transpose(0, 1)[min(1, delay // hop) :].contiguous()


def windows(audio: Tensor, size: int, hop: int) -> Tensor:
    """Return the windows [batch, frames, size] of audio [batch, 1, (frames - 1) * hop + size], size a multiple of hop."""
    parts = size // hop
    blocks = audio.reshape(audio.shape[0], -1, hop)
    return torch.cat([blocks[:, part : part + 1 - parts or None] for part in range(parts)], dim=2)


def laid(pieces: Tensor, state: Tensor, hop: int) -> tuple[Tensor, Tensor]:
    """Add windows [batch, frames, size] that start `hop` apart to those of the state; return samples and the next state."""
    joined, late = torch.cat([state, pieces], dim=1), state.shape[1]
    parts = joined.split(hop, dim=2)
    return sum_of([part[:, late - n : -n or None] for n, part in enumerate(parts)]), joined[:, -late:]


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

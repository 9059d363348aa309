"""What all discriminators are made of: a stack of convolutions that gives a score and the maps before it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from .convolution import SpectralConv2d

Judgement = tuple[Tensor, list[Tensor]]


def conv1d(*args, **settings) -> nn.Module:
    """Return a weight-normed convolution in time."""
    return weight_norm(nn.Conv1d(*args, **settings))


def conv2d(*args, **settings) -> nn.Module:
    """Return a weight-normed convolution in time and frequency, or time and phase."""
    return weight_norm(nn.Conv2d(*args, **settings))


def spectral_conv2d(*args, **settings) -> nn.Module:
    """Return a weight-normed `SpectralConv2d`."""
    return weight_norm(SpectralConv2d(*args, **settings))


class Stack(nn.Module):
    """Convolutions with leaky ReLUs between, and a last one that gives the score.

    Args:
        layers: all convolutions but the last.
        last: the convolution to one channel.
        slope: of the leaky ReLU below zero.
        first_map: whether the first layer's output is among the feature maps.
        score_map: whether the score is.
    """

    def __init__(
        self, layers: Sequence[nn.Module], last: nn.Module, slope: float = 0.1, first_map: bool = True, score_map: bool = False
    ) -> None:
        super().__init__()
        self.layers, self.last = nn.ModuleList(layers), last
        self.slope, self.first_map, self.score_map = slope, first_map, score_map

    def forward(self, x: Tensor) -> Judgement:
        """Return the score [batch, 1, ...] and the feature maps."""
        maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), self.slope)
            maps.append(x)
        score = self.last(x)
        if self.score_map:
            maps.append(score)
        return score, maps[0 if self.first_map else 1 :]


class Ensemble(nn.Module):
    """Several discriminators of one waveform [batch, channels, samples], their judgements in one list."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, waveform: Tensor) -> list[Judgement]:
        """Return (score, [feature maps]) of every member's every part."""
        return [judgement for member in self.members for judgement in member(waveform)]


def level(waveform: Tensor) -> Tensor:
    """Return waveform [..., samples] without its mean and with a peak of 0.8, as DAC's discriminators hear it."""
    waveform = waveform - waveform.mean(-1, keepdim=True)
    return 0.8 * waveform / (waveform.abs().amax(-1, keepdim=True) + 1e-9)


def mono(waveform: Tensor) -> Tensor:
    """Return waveform [batch, channels, samples] as [batch * channels, 1, samples]: each channel is judged by itself."""
    return waveform.flatten(0, 1)[:, None]


def judge_both(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[list[Judgement], list[Judgement]]:
    """Judge real and fake [batch, channels, samples] in one batch, for the discriminator's step; no gradient reaches `fake`."""
    both = discriminator(torch.cat([real, fake.detach()]))
    halves = [([score.chunk(2)] + [m.chunk(2) for m in maps]) for score, maps in both]
    first, second = ([(parts[0][side], [m[side] for m in parts[1:]]) for parts in halves] for side in (0, 1))
    return first, second


def judge_for_generator(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[list[Judgement], list[Judgement]]:
    """Judge real and fake [batch, channels, samples] for the generator's step.

    Gradients flow to `fake` alone: none is computed for the discriminator's weights, and real maps keep no graph.
    """
    with frozen(discriminator), parametrize.cached():
        with torch.no_grad():
            theirs = discriminator(real)
        return theirs, discriminator(fake)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Leave a module's weights out of the graphs that are built inside, as they are while the generator steps."""
    trained = [p for p in module.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)

"""How far a codec in another number format, or on another device, agrees with itself."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Codec


@dataclass(frozen=True)
class Agreement:
    """What became of a codec's codes and audio.

    Attributes:
        codes: share of equal codes of each codebook, coarse first; a residual codebook mostly differs where one before it did.
        snr: of the audio of the same codes, dB.
    """

    codes: tuple[float, ...]
    snr: float

    def __str__(self) -> str:
        mean = sum(self.codes) / len(self.codes)
        return f"codes {self.codes[0]:.2%} of the first codebook, {mean:.2%} of all; audio of the same codes {self.snr:.1f} dB"


def agreement(codec: Codec, waveform: Tensor, dtype: torch.dtype = torch.bfloat16, device: str = "cpu") -> Agreement:
    """Return how a copy of the codec in `dtype` on `device` codes and sounds a waveform [batch, channels, samples].

    It is compared with the codec as it is.
    """
    other = copy.deepcopy(codec).to(device, dtype)
    tokens, found = codec.encode(waveform), other.encode(waveform)
    shares: list[float] = []
    for ours, theirs in zip(tokens.streams, found.streams, strict=True):
        shares += (ours.cpu() == theirs.cpu()).float().mean((0, 2)).tolist()
    again = other.tokens_from_codes(
        tokens.streams, tokens.n_samples.tolist(), {k: v.to(device) for k, v in tokens.side.items()}
    )
    sound, wanted = other.decode(again).cpu().float(), codec.decode(tokens).cpu().float()
    noise = (sound - wanted).square().sum().clamp_min(1e-20)
    return Agreement(tuple(shares), float(10 * torch.log10(wanted.square().sum() / noise)))

"""Short-time Fourier transform and its inverse as causal layers with explicit state.

Frame j sees the window that ends with hop j, so analysis looks at nothing later and synthesis finishes a sample once
`window - hop` later samples have been framed. Source of the head: Siuzdak, "Vocos", 2023, section 3.
"""

import torch
from torch import Tensor, nn

from ..errors import ShapeError


class CausalSTFT(nn.Module):
    """Complex spectrum of waveform [batch, hop * frames]: [batch, frames, window // 2 + 1].

    State: the last `window - hop` samples, [batch, window - hop], zeros before the first.
    """

    taper: Tensor

    def __init__(self, window: int, hop: int) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        taper = torch.hann_window(window)
        self.register_buffer("taper", taper / taper.square().sum().sqrt(), persistent=False)

    def initial_state(self, batch: int) -> Tensor:
        """Return the silence before the first sample."""
        return self.taper.new_zeros(batch, self.window - self.hop)

    def step(self, waveform: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Transform the next samples, a multiple of `hop`."""
        if waveform.shape[-1] % self.hop:
            raise ShapeError(f"a step takes a multiple of {self.hop} samples; got {waveform.shape[-1]}")
        joined = torch.cat([state, waveform], dim=-1)
        frames = joined.unfold(-1, self.window, self.hop) * self.taper
        return torch.fft.rfft(wide(frames)), joined[:, waveform.shape[-1] :]


class CausalISTFT(nn.Module):
    """Overlap-add of spectra [batch, frames, window // 2 + 1] to waveform [batch, hop * frames], `delay` samples late.

    State: the unfinished overlap, [batch, window - hop].
    """

    taper: Tensor

    def __init__(self, window: int, hop: int) -> None:
        super().__init__()
        if window % hop or window // hop < 3:
            raise ShapeError(
                f"overlap-add of squared Hann windows needs a hop that is a third of the window or less; got {window}, {hop}"
            )
        self.window, self.hop = window, hop
        taper = torch.hann_window(window)
        # hann squared overlaps to 3/8 * window / hop exactly, so one constant undoes both tapers everywhere
        scale = taper.square().sum().sqrt() / (0.375 * window / hop)
        self.register_buffer("taper", taper * scale, persistent=False)

    @property
    def delay(self) -> int:
        """Samples by which the output lags the frames."""
        return self.window - self.hop

    def initial_state(self, batch: int) -> Tensor:
        """Return the empty overlap."""
        return self.taper.new_zeros(batch, self.window - self.hop)

    def step(self, spectrum: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Add the next frames; return hop samples for each."""
        return overlap_add(torch.fft.irfft(spectrum, n=self.window) * self.taper, state, self.hop)


def wide(x: Tensor) -> Tensor:
    """Return x in 32 bits at least: there are no spectra of half precision."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def overlap_add(pieces: Tensor, state: Tensor, hop: int) -> tuple[Tensor, Tensor]:
    """Add windows [batch, frames, window] that start `hop` apart.

    Args:
        pieces: the windows; their length is a multiple of `hop`.
        state: [batch, window - hop], what earlier windows left over.
        hop: samples from one window to the next.

    Returns:
        The finished samples [batch, frames * hop], and what is left over for the next call.
    """
    batch, frames, window = pieces.shape
    parts = window // hop
    pieces = pieces.unflatten(-1, (parts, hop))
    out = pieces.new_zeros(batch, frames + parts - 1, hop)
    for part in range(parts):
        out[:, part : part + frames] += pieces[:, :, part]
    out = out.flatten(1)
    overlap = window - hop
    out = torch.cat([out[:, :overlap] + state, out[:, overlap:]], dim=1)
    return out[:, : frames * hop], out[:, frames * hop :]

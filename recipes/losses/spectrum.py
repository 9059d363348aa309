"""The short-time Fourier transform as losses and discriminators use it, always in float32."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...codecs.layers.stft import overlap_add


def reflect(waveform: Tensor, left: int, right: int) -> Tensor:
    """Pad waveform [..., samples] by reflection; one too short to reflect is followed by zeros first."""
    missing = max(left, right) + 1 - waveform.shape[-1]
    if missing > 0:
        waveform = F.pad(waveform, (0, missing))
    return F.pad(waveform.flatten(0, -2)[None], (left, right), mode="reflect")[0].unflatten(0, waveform.shape[:-1])


def spectrum(waveform: Tensor, hop: int, taper: Tensor, n_fft: int | None = None, center: bool = True) -> Tensor:
    """Return the complex spectrum [..., bins, frames] of waveform [..., samples], in float32 even under autocast.

    Args:
        waveform: samples, of any leading shape.
        hop: samples from one frame to the next.
        taper: the window, of `n_fft` samples or fewer; a shorter one is centred in the frame.
        n_fft: samples of a frame; the window's length unless given.
        center: reflect half a frame at both ends, so that frame j is centred at sample j * hop.
    """
    n_fft = n_fft or len(taper)
    with torch.autocast(waveform.device.type, enabled=False):
        waveform = waveform.float()
        if center:
            waveform = reflect(waveform, n_fft // 2, n_fft // 2)
        if waveform.shape[-1] < n_fft:
            waveform = F.pad(waveform, (0, n_fft - waveform.shape[-1]))
        missing = n_fft - len(taper)
        frame_taper = F.pad(taper, (missing // 2, missing - missing // 2)) if missing else taper
        bins: Tensor = _Spectrum.apply(waveform.flatten(0, -2), frame_taper, hop)
        return bins.transpose(-1, -2).unflatten(0, waveform.shape[:-1])


class _Spectrum(torch.autograd.Function):
    """Spectra [batch, frames, bins] of windows of waveform [batch, samples], `hop` apart.

    A gradient comes back by one transform to real numbers; PyTorch's own goes by one of complex numbers, padded to all bins.
    """

    @staticmethod
    def forward(ctx: Any, waveform: Tensor, taper: Tensor, hop: int) -> Tensor:
        ctx.save_for_backward(taper)
        ctx.samples, ctx.hop = waveform.shape[-1], hop
        return torch.fft.rfft(waveform.unfold(-1, len(taper), hop) * taper)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (taper,) = ctx.saved_tensors
        (gradient,) = gradients
        once = taper.new_full((gradient.shape[-1],), 0.5)  # irfft counts a bin and its mirror; these two are their own
        once[0] = 1.0
        if len(taper) % 2 == 0:
            once[-1] = 1.0
        frames = torch.fft.irfft(gradient * once, len(taper), norm="forward") * taper
        return _added(frames, ctx.hop, ctx.samples), None, None


def _added(frames: Tensor, hop: int, samples: int) -> Tensor:
    """Return waveforms [batch, samples] to which frames [batch, frames, window] are added `hop` apart."""
    window = frames.shape[-1]
    frames = F.pad(frames, (0, -window % hop))
    finished, rest = overlap_add(frames, frames.new_zeros(len(frames), frames.shape[-1] - hop), hop)
    whole = torch.cat([finished, rest], dim=-1)
    return F.pad(whole, (0, samples - whole.shape[-1]))


def power(spectrum: Tensor) -> Tensor:
    """Return the squared modulus of a complex spectrum."""
    return spectrum.real.square() + spectrum.imag.square()


def magnitude(spectrum: Tensor, floor: float, ceiling: float | None = None) -> Tensor:
    """Return the modulus of a complex spectrum, its square held between bounds so that gradients at silence stay finite."""
    return power(spectrum).clamp(floor, ceiling).sqrt()

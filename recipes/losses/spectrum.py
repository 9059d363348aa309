"""The short-time Fourier transform as losses and discriminators use it, always in float32."""

import torch
from torch import Tensor
from torch.nn import functional as F


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
        flat = waveform.flatten(0, -2)
        bins = torch.stft(flat, n_fft, hop, len(taper), taper, center=False, return_complex=True)
        return bins.unflatten(0, waveform.shape[:-1])


def magnitude(spectrum: Tensor, floor: float, ceiling: float | None = None) -> Tensor:
    """Return the modulus of a complex spectrum, its square held between bounds so that gradients at silence stay finite."""
    return (spectrum.real.square() + spectrum.imag.square()).clamp(floor, ceiling).sqrt()

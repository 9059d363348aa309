"""Spectrograms as PNG files, by zlib alone."""

import struct
import zlib

import numpy as np
import torch
from torch import Tensor

from .spectra import magnitudes

WINDOW, WIDTH, HEIGHT = 1024, 480, 160  # samples, pixels, pixels
RANGE = 80.0  # dB below full scale that are shown
# black, blue, magenta, orange, white: of rising lightness, so that it reads the same in grey
STOPS = np.array([[0, 0, 4], [60, 15, 110], [170, 45, 100], [245, 130, 40], [252, 250, 190]], np.float64)


def spectrogram_png(waveform: Tensor, sample_rate: int) -> bytes:
    """Return the spectrogram of a waveform [time] from 0 Hz (below) to the Nyquist rate, 80 dB deep, as a PNG file.

    Frequencies are spaced as on the mel scale, so that speech is not squeezed into the lowest tenth.
    """
    padded = torch.nn.functional.pad(waveform, (0, max(0, WINDOW - len(waveform))))
    levels = 20 * (magnitudes(padded[None], WINDOW)[0] * 4 / WINDOW).clamp(min=1e-6).log10()
    rows = _mel_bins(sample_rate)
    columns = torch.linspace(0, len(levels) - 1, WIDTH).round().long()
    shades = (levels[columns][:, rows].T / RANGE + 1).clamp(0, 1).numpy()
    return write_png(_palette()[(shades * 255).astype(np.uint8)])


def _mel_bins(sample_rate: int) -> Tensor:
    """Return the bin of each row of pixels, highest frequency first."""
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    hertz = 700 * (10 ** (torch.linspace(float(top), 0, HEIGHT) / 2595) - 1)
    return (hertz / (sample_rate / WINDOW)).round().long().clamp(max=WINDOW // 2)


def _palette() -> np.ndarray:
    at = np.linspace(0, len(STOPS) - 1, 256)
    return np.stack([np.interp(at, np.arange(len(STOPS)), STOPS[:, c]) for c in range(3)], axis=1).astype(np.uint8)


def write_png(pixels: np.ndarray) -> bytes:
    """Return a PNG file of pixels uint8 [height, width, 3]."""
    height, width, _ = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, width * 3)], axis=1)  # filter 0 each
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )

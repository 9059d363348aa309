"""Rooms: what becomes of speech on its way to a microphone, by reverberation and noise.

Reverberation is noise whose level falls evenly (Polack, "La transmission de l'énergie sonore dans les salles", 1988) after the
direct sound; noise falls by 3 dB an octave, as that of rooms does about.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

REVERBERATION = (0.1, 0.3)  # seconds to -60 dB
DIRECT = (6.0, 18.0)  # dB of the direct sound above what comes after it
NOISE = (20.0, 40.0)  # dB of speech above noise
LEVEL = 0.05  # root mean square of all recordings


@dataclass(frozen=True)
class Room:
    """One room, of which every recording is another.

    Attributes:
        seconds: until reverberation has fallen by 60 dB.
        direct: level of the direct sound above reverberation, dB.
        noise: level of speech above noise, dB.
        seed: of the reverberation's and the noise's samples.
    """

    seconds: float
    direct: float
    noise: float
    seed: int

    def hear(self, speech: Tensor, sample_rate: int) -> Tensor:
        """Return what is heard there of speech [time], reverberation after its end included."""
        draw = np.random.default_rng(self.seed)
        tail = draw.standard_normal(round(self.seconds * sample_rate))
        tail *= 10 ** (-3 * np.arange(len(tail)) / len(tail))
        tail *= 10 ** (-self.direct / 20) / np.sqrt(np.sum(tail**2))
        heard = convolve(speech.double().numpy(), np.concatenate([[1.0], tail]))
        noise = pink(len(heard), draw)
        heard = heard + noise * np.sqrt(np.mean(heard**2)) * 10 ** (-self.noise / 20)
        return torch.from_numpy(heard * LEVEL / np.sqrt(np.mean(heard**2))).float()


def draw_room(draw: np.random.Generator) -> Room:
    """Return a room."""
    return Room(*(draw.uniform(*span) for span in (REVERBERATION, DIRECT, NOISE)), seed=int(draw.integers(2**31)))


def convolve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the convolution of two signals, as long as both together less one."""
    length = len(x) + len(y) - 1
    size = 1 << (length - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(y, size), size)[:length]


def pink(length: int, draw: np.random.Generator) -> np.ndarray:
    """Return noise of so many samples, of power in inverse proportion to frequency, with a root mean square of 1."""
    size = 1 << (length - 1).bit_length()  # transforms of other lengths take many times as long
    spectrum = np.fft.rfft(draw.standard_normal(size))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), size)[:length]
    return noise / np.sqrt(np.mean(noise**2))

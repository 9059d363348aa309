"""What is done to items by chance: gain, peaks, equalisation, noise, reverberation, and a second recording mixed in.

Each takes a waveform [channels, samples], a random generator and its settings; `share` is how often it is done.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import RecipeError

Augmentation = Callable[..., np.ndarray]
PEAK = 0.99


def gain(x: np.ndarray, rng: np.random.Generator, rate: int, db: tuple[float, float] = (-12.0, 6.0)) -> np.ndarray:
    """Return x louder or softer by a factor drawn evenly in dB."""
    return x * 10 ** (rng.uniform(*db) / 20)


def peak(x: np.ndarray, rng: np.random.Generator, rate: int, db: tuple[float, float] = (-6.0, -1.0)) -> np.ndarray:
    """Return x with its peak at a level below full scale that is drawn evenly in dB; what is nearly silent as it is."""
    highest = float(np.abs(x).max()) if x.size else 0.0
    return x * (10 ** (rng.uniform(*db) / 20) / highest) if highest > 1e-4 else x


def equalise(x: np.ndarray, rng: np.random.Generator, rate: int, db: float = 6.0, bands: int = 6) -> np.ndarray:
    """Return x through a smooth curve over log frequency, drawn within +-db at `bands` places from 60 Hz to the top."""
    frequencies = np.fft.rfftfreq(x.shape[-1], 1 / rate)
    places = np.geomspace(60, rate / 2, bands)
    curve = np.interp(np.log(frequencies.clip(min=1)), np.log(places), rng.uniform(-db, db, bands))
    return np.fft.irfft(np.fft.rfft(x) * 10 ** (curve / 20), n=x.shape[-1])


def noise(x: np.ndarray, rng: np.random.Generator, rate: int, snr_db: tuple[float, float] = (15.0, 40.0)) -> np.ndarray:
    """Return x with coloured noise, its spectrum's slope drawn from white to that of 1/f^2."""
    frequencies = np.fft.rfftfreq(x.shape[-1], 1 / rate).clip(min=20)
    spectrum = np.fft.rfft(rng.standard_normal(x.shape)) * frequencies ** -rng.uniform(0, 1)
    return add_at(x, np.fft.irfft(spectrum, n=x.shape[-1]), rng.uniform(*snr_db))


def reverberate(
    x: np.ndarray, rng: np.random.Generator, rate: int,
    seconds: tuple[float, float] = (0.1, 0.6), direct_db: tuple[float, float] = (0.0, 12.0),
) -> np.ndarray:  # fmt: skip
    """Return x with a tail of noise that falls by 60 dB in a drawn time, the direct sound louder than all of it by drawn dB."""
    time = rng.uniform(*seconds)
    length = max(1, round(time * rate))
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail *= 10 ** (-rng.uniform(*direct_db) / 20) / np.sqrt((tail**2).sum())
    size = x.shape[-1] + length
    wet = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(tail, size), n=size)[..., : x.shape[-1]]
    return x + wet


def mix(
    x: np.ndarray, rng: np.random.Generator, rate: int, other: Callable[[], np.ndarray], snr_db: tuple[float, float] = (0, 20)
) -> np.ndarray:
    """Return x with another item of the same length added."""
    return add_at(x, other(), rng.uniform(*snr_db))


def add_at(x: np.ndarray, other: np.ndarray, snr_db: float) -> np.ndarray:
    """Return x plus `other` scaled to lie `snr_db` below it; x where either is silent."""
    ours, theirs = float((x**2).mean()), float((other**2).mean())
    if ours < 1e-10 or theirs < 1e-10:
        return x
    return x + other * np.sqrt(ours / theirs) * 10 ** (-snr_db / 20)


AUGMENTATIONS: dict[str, Augmentation] = {
    "mix": mix, "reverberate": reverberate, "equalise": equalise, "noise": noise, "gain": gain, "peak": peak
}  # fmt: skip


def check_augment(settings: dict[str, dict[str, Any]]) -> None:
    """Raise RecipeError where a recipe names what is not there."""
    for name in settings:
        if name not in AUGMENTATIONS:
            raise RecipeError(f"data.augment.{name} is unknown: it is one of {', '.join(AUGMENTATIONS)}")


def augment(
    x: np.ndarray,
    rng: np.random.Generator,
    rate: int,
    settings: dict[str, dict[str, Any]],
    other: Callable[[], np.ndarray],
) -> np.ndarray:
    """Return float32 x after the augmentations that a recipe names, each with probability `share`, and no sample clipped."""
    for name, work in AUGMENTATIONS.items():
        if name in settings:
            options = {key: value for key, value in settings[name].items() if key != "share"}
            if rng.random() < settings[name].get("share", 0.5):
                x = work(x, rng, rate, **({"other": other} if name == "mix" else {}), **options)
    highest = float(np.abs(x).max()) if x.size else 0.0
    return (x * (PEAK / highest) if settings and highest > PEAK else x).astype(np.float32)

"""Spectrograms: a PNG that other programs read, bright where the sound is."""

import io

import numpy as np
import pytest

from toneme.eval.spectrogram import HEIGHT, WIDTH, spectrogram_png, write_png

from .signals import tone


def read(png: bytes) -> np.ndarray:
    image = pytest.importorskip("PIL.Image", reason="Pillow comes with matplotlib, which reads the picture back")
    return np.asarray(image.open(io.BytesIO(png)))


def test_pixels_come_back():
    pixels = np.random.default_rng(0).integers(256, size=(3, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read(write_png(pixels)), pixels)


def test_a_tone_is_a_bright_line_at_its_place():
    picture = read(spectrogram_png(tone(1000, 24000), 24000)).sum(2)
    assert picture.shape == (HEIGHT, WIDTH)
    mels = 2595 * np.log10(1 + np.array([1000, 12000]) / 700)
    expected = (1 - mels[0] / mels[1]) * (HEIGHT - 1)
    assert abs(picture.mean(1).argmax() - expected) <= 3


def test_audio_shorter_than_a_window_is_drawn():
    assert read(spectrogram_png(tone(1000, 24000)[:50], 24000)).shape == (HEIGHT, WIDTH, 3)

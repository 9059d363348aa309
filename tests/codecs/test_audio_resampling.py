"""Resampling against closed forms, blocks against the whole, and the rule for channels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from toneme.codecs.audio_resampling import Resampler, check_rate, mix_channels, resample, resampled_length
from toneme.codecs.errors import AudioError, ShapeError

RATES = [(44_100, 24_000), (48_000, 24_000), (16_000, 24_000), (8_000, 24_000), (22_050, 24_000), (44_100, 48_000),
         (24_000, 48_000), (384_000, 24_000)]  # fmt: skip


def sine(frequency: float, rate: int, n: int) -> Tensor:
    return torch.sin(2 * math.pi * frequency / rate * torch.arange(n, dtype=torch.float64))


def middle(waveform: Tensor) -> Tensor:
    """The half that the ends of the audio, where it is zero outside, do not reach."""
    n = waveform.shape[-1]
    return waveform[..., n // 4 : 3 * n // 4].double()


def decibels(power: Tensor) -> float:
    return 10 * math.log10(float(power))


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_sine_keeps_its_samples(from_rate: int, to_rate: int) -> None:
    """Against the same sine at the other rate: nothing is late, scaled or added by more than the stated 145 dB."""
    frequency = 0.3 * min(from_rate, to_rate) / 2
    got = resample(sine(frequency, from_rate, from_rate).float(), from_rate, to_rate)
    expected = middle(sine(frequency, to_rate, to_rate))
    assert decibels(expected.square().mean() / (middle(got) - expected).square().mean()) > 145


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
@pytest.mark.parametrize(("place", "low", "high"), [(0.5, -0.01, 0.01), (0.9, -0.01, 0.01), (0.95, -3.1, -2.8)])
def test_pass_band_is_flat_as_stated(from_rate: int, to_rate: int, place: float, low: float, high: float) -> None:
    tone = sine(place * min(from_rate, to_rate) / 2, from_rate, 2 * from_rate)
    gain = decibels(2 * middle(resample(tone.float(), from_rate, to_rate)).square().mean())
    assert low < gain < high


@pytest.mark.parametrize(("from_rate", "to_rate"), [pair for pair in RATES if pair[0] > pair[1]])
@pytest.mark.parametrize("place", [1.001, 1.05, 1.4])
def test_what_would_alias_is_gone(from_rate: int, to_rate: int, place: float) -> None:
    tone = sine(place * to_rate / 2, from_rate, 2 * from_rate)
    assert decibels(2 * middle(resample(tone.float(), from_rate, to_rate)).square().mean() + 1e-30) < -145


@pytest.mark.parametrize(("from_rate", "to_rate"), [pair for pair in RATES if pair[0] < pair[1]])
def test_images_are_gone(from_rate: int, to_rate: int) -> None:
    up = resample(sine(0.8 * from_rate / 2, from_rate, 2 * from_rate).float(), from_rate, to_rate).double()
    spectrum = torch.fft.rfft(up * torch.hann_window(len(up), dtype=torch.float64) ** 2).abs().square()
    above = math.ceil(from_rate / to_rate * len(spectrum)) + 4
    assert decibels(spectrum[above:].max() / spectrum.max()) < -145


@settings(deadline=None, max_examples=60)
@given(
    rates=st.tuples(
        st.sampled_from([8_000, 11_025, 24_000, 44_100, 48_000, 384_000]), st.sampled_from([16_000, 24_000, 44_100])
    ),
    sizes=st.lists(st.integers(0, 3_000), max_size=6),
    channels=st.integers(1, 3),
)
def test_blocks_joined_equal_the_whole(rates: tuple[int, int], sizes: list[int], channels: int) -> None:
    """Exactly: soxr filters in blocks of its own, whatever it is given."""
    whole = torch.randn(channels, sum(sizes), generator=torch.Generator().manual_seed(len(sizes)))
    stream = Resampler(*rates, channels)
    parts = [stream.push(block.numpy()) for block in whole.split(sizes, dim=1)] if sizes else []
    parts.append(stream.push(whole[:, :0].numpy(), last=True))
    joined = torch.from_numpy(np.concatenate(parts, 1))
    assert torch.equal(joined, resample(whole, *rates) if rates[0] != rates[1] else joined)
    assert sum(part.shape[1] for part in parts) == resampled_length(sum(sizes), *rates)


@pytest.mark.parametrize(
    ("n", "from_rate", "to_rate", "expected"),
    [(0, 48_000, 24_000, 0), (1, 48_000, 24_000, 1), (3, 48_000, 24_000, 2), (1, 384_000, 24_000, 1), (100, 384_000, 24_000, 6),
     (44_100, 44_100, 24_000, 24_000), (1_000, 44_100, 24_000, 544), (7, 1_000, 384_000, 2_688)],
)  # fmt: skip
def test_length_is_the_nearest(n: int, from_rate: int, to_rate: int, expected: int) -> None:
    assert resampled_length(n, from_rate, to_rate) == expected
    assert resample(torch.zeros(2, n), from_rate, to_rate).shape == (2, expected)


def test_type_shape_and_identity() -> None:
    waveform = torch.randn(2, 3, 400)
    assert resample(waveform, 24_000, 24_000) is waveform
    assert resample(waveform, 24_000, 48_000).shape == (2, 3, 800)
    assert resample(waveform[:0], 24_000, 48_000).shape == (0, 3, 800)
    torch.testing.assert_close(
        resample(waveform, 24_000, 48_000)[1, 2], resample(waveform[1, 2], 24_000, 48_000), rtol=0, atol=0
    )
    assert resample(waveform.bfloat16(), 24_000, 48_000).dtype == torch.bfloat16
    precise = resample(waveform.double(), 24_000, 48_000)
    assert precise.dtype == torch.float64
    torch.testing.assert_close(precise.float(), resample(waveform, 24_000, 48_000), rtol=0, atol=1e-6)  # float32's rounding


@pytest.mark.parametrize("rate", [0, -1, 999, 1_000_001, 44_100.5, 2**32 - 1, True])
def test_absurd_rates_are_refused(rate: float) -> None:
    with pytest.raises(AudioError, match="whole number from 1000 to 1000000 Hz"):
        check_rate(rate)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_bad_sample_is_refused_and_not_smeared(value: float) -> None:
    waveform = torch.zeros(1, 100)
    waveform[0, 50] = value
    with pytest.raises(AudioError, match="NaN or infinite"):
        resample(waveform, 48_000, 24_000)


def test_a_resampler_keeps_to_its_channels() -> None:
    with pytest.raises(ShapeError, match=r"takes \[2, samples\]; got \[1, 5\]"):
        Resampler(48_000, 24_000, 2).push(np.zeros((1, 5), np.float32))


def test_channels_mix_to_their_mean_and_repeat() -> None:
    waveform = torch.randn(11, 50)
    torch.testing.assert_close(mix_channels(waveform, 1), waveform.mean(0, keepdim=True), rtol=0, atol=1e-6)  # order of the sum
    assert torch.equal(mix_channels(waveform[:1], 3), waveform[:1].repeat(3, 1))
    assert mix_channels(waveform, 11) is waveform
    assert torch.equal(mix_channels(waveform, 1)[:, 7:9], mix_channels(waveform[:, 7:9], 1))
    for some, channels in ((waveform, 1), (waveform[:2], 1), (waveform[:1], 3)):
        assert np.array_equal(mix_channels(some.numpy(), channels), mix_channels(some, channels).numpy())


@pytest.mark.parametrize(("given", "wanted"), [(6, 2), (2, 3), (0, 1), (1, 0)])
def test_other_mappings_are_not_guessed(given: int, wanted: int) -> None:
    with pytest.raises(AudioError, match=f"{given} channels cannot become audio of {wanted}"):
        mix_channels(torch.zeros(given, 5), wanted)

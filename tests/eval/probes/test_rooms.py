"""Rooms: reverberation and noise at the levels that were asked for, the same each time."""

import numpy as np
import pytest
import torch

from toneme.eval.probes.rooms import DIRECT, LEVEL, NOISE, REVERBERATION, Room, convolve, draw_room, pink

RATE = 16000


def level(x):
    return 10 * np.log10(np.mean(np.square(x)))


def response(room):
    """What is heard of one pulse, the level that recordings have taken back."""
    heard = room.hear(torch.eye(1, 10)[0], RATE).double().numpy()
    return heard / heard[0]


def test_reverberation_falls_by_60_db_in_its_time_and_lies_below_the_direct_sound():
    heard = response(Room(0.5, 6.0, 200.0, seed=3))
    tail = heard[1 : 1 + RATE // 2]
    assert 10 * np.log10(np.sum(tail**2)) == pytest.approx(-6, abs=0.01)  # the mean over draws would vary by 0.2
    fall = level(tail[: RATE // 20]) - level(tail[-RATE // 20 :])
    assert fall == pytest.approx(54, abs=2)  # of 60, nine tenths of the time apart; 800 samples of noise each
    assert len(heard) == 10 + RATE // 2


def test_noise_lies_as_far_below_speech_as_asked():
    speech = torch.sin(torch.arange(RATE) * 0.3)
    clean, noisy = (Room(0.2, 12.0, noise, seed=1).hear(speech, RATE).double().numpy() for noise in (200.0, 10.0))
    scale = np.dot(noisy, clean) / np.dot(clean, clean)
    assert level(clean * scale) - level(noisy - clean * scale) == pytest.approx(10, abs=0.3)  # what noise has of the tone
    assert np.sqrt(np.mean(noisy**2)) == pytest.approx(LEVEL, rel=1e-5)


def test_a_room_is_the_same_each_time_and_another_by_another_seed():
    speech = torch.sin(torch.arange(5000) * 0.3)
    one, again, other = (Room(0.3, 6.0, 10.0, seed).hear(speech, RATE) for seed in (7, 7, 8))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=1e-3)


def test_drawn_rooms_lie_within_bounds():
    draw = np.random.default_rng(0)
    rooms = [draw_room(draw) for _ in range(200)]
    for values, (low, high) in zip(
        zip(*((room.seconds, room.direct, room.noise) for room in rooms), strict=True),
        (REVERBERATION, DIRECT, NOISE),
        strict=True,
    ):
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high


def test_convolution_is_numpys():
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal(1000), draw.standard_normal(37)
    np.testing.assert_allclose(convolve(x, y), np.convolve(x, y), atol=1e-11)  # rounding of float64


def test_noise_falls_by_3_db_an_octave():
    power = np.abs(np.fft.rfft(pink(1 << 16, np.random.default_rng(0)))) ** 2
    octaves = [10 * np.log10(power[1 << k : 2 << k].mean()) for k in range(7, 15)]
    assert np.diff(octaves) == pytest.approx(-3.01, abs=1.0)  # 128 bins in the lowest octave: 0.4 dB of deviation

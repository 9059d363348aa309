"""Augmentation: what each promises about level, spectrum and time."""

import numpy as np
import pytest

from toneme.recipes.data.augment import AUGMENTATIONS, add_at, augment, equalise, noise, peak, reverberate
from toneme.recipes.errors import RecipeError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sound() -> np.ndarray:
    return 0.1 * rng(5).standard_normal((1, 24000)).astype(np.float32)


def ratio_db(x: np.ndarray, difference: np.ndarray) -> float:
    return 10 * np.log10((x**2).mean() / (difference**2).mean())


def test_noise_lies_as_far_below_as_was_drawn():
    x = sound()
    assert ratio_db(x, noise(x, rng(), 24000, (20.0, 20.0)) - x) == pytest.approx(20, abs=1e-3)


def test_another_item_lies_as_far_below_and_silence_adds_nothing():
    x, other = sound(), rng(1).standard_normal((1, 24000))
    assert ratio_db(x, add_at(x, other, 6.0) - x) == pytest.approx(6, abs=1e-3)
    assert add_at(x, np.zeros_like(x), 6.0) is x


def test_peaks_are_where_they_were_drawn_and_silence_stays():
    drawn = [20 * np.log10(np.abs(peak(level * sound(), rng(seed), 24000)).max()) for seed, level in enumerate((0.01, 1, 9))]
    assert drawn == pytest.approx([rng(seed).uniform(-6, -1) for seed in range(3)], abs=1e-4)
    faint = np.full((1, 100), 1e-5)
    assert peak(faint, rng(), 24000) is faint


def test_an_equaliser_of_0_db_does_nothing_and_one_of_6_stays_within():
    x = sound()
    np.testing.assert_allclose(equalise(x, rng(), 24000, db=0.0), x, atol=1e-6)
    change = np.abs(np.fft.rfft(equalise(x, rng(), 24000, db=6.0))) / np.abs(np.fft.rfft(x))
    assert (20 * np.log10(change[:, 1:-1])).max() <= 6.01
    assert np.ptp(20 * np.log10(change[:, 1:-1])) > 1


def test_reverberation_comes_after_the_sound_and_dies_away():
    click = np.zeros((1, 24000))
    click[0, 1000] = 1
    wet = reverberate(click, rng(), 24000, (0.2, 0.2), (6.0, 6.0))
    assert np.abs(wet[0, :1000]).max() < 1e-12
    tail = wet[0, 1001:]
    assert (tail[:1000] ** 2).sum() > 100 * (tail[3800:4800] ** 2).sum() > 0
    assert np.abs(tail[4800:]).max() < 1e-12


def test_shares_are_kept_and_peaks_do_not_clip():
    x = sound()
    assert np.array_equal(augment(x, rng(), 24000, {"noise": {"share": 0.0}}, sound), x)
    loud = augment(x, rng(), 24000, {"gain": {"share": 1.0, "db": [40, 40]}}, sound)
    assert np.abs(loud).max() == pytest.approx(0.99)
    everything = {name: {"share": 1.0} for name in AUGMENTATIONS}
    done = augment(x, rng(), 24000, everything, sound)
    assert done.dtype == np.float32
    assert np.isfinite(done).all()
    assert np.array_equal(done, augment(x, rng(), 24000, everything, sound))


def test_unknown_names_are_refused():
    from toneme.recipes.data.augment import check_augment

    with pytest.raises(RecipeError, match="is unknown: it is one of mix, reverberate"):
        check_augment({"echo": {}})

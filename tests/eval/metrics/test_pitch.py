"""Pitch: tones of known F0, librosa's YIN and Praat beside the tracker, mir_eval and scikit-learn beside the scores."""

import numpy as np
import pytest
import torch

from toneme.codecs.audio_resampling import resample
from toneme.codecs.errors import AudioError, ShapeError
from toneme.eval.metrics.pitch import HOP, f0_error, track_pitch, voicing_f1

from ..signals import noise, tone


@pytest.fixture
def voice(speech):
    return resample(speech[0], 24000, 16000)


@pytest.mark.parametrize("hertz", [75.0, 123.4, 440.0])
def test_a_tone_has_its_frequency(hertz):
    f0, voiced = track_pitch(tone(hertz) + 0.5 * tone(2 * hertz) + 0.3 * tone(3 * hertz))
    assert voiced.all()
    assert (1200 * (f0 / hertz).log2()).abs().max() < 3


def test_noise_and_silence_have_none():
    assert track_pitch(noise(16000))[1].float().mean() < 0.02
    quiet = torch.cat([tone(200), 1e-4 * tone(200)])
    assert not track_pitch(quiet)[1][105:].any()


def test_an_octave_of_error_is_1200_cents_and_half_of_the_voicing_is_two_thirds():
    assert f0_error(tone(400), tone(200)) == pytest.approx(1200, abs=1)
    half = torch.cat([tone(200, seconds=1.0), 0.05 * noise(16000)])
    whole = tone(200, seconds=2.0)
    assert voicing_f1(half, whole) == pytest.approx(2 / 3, abs=0.02)


def test_the_tracker_agrees_with_librosas_yin_and_with_praat(voice):
    f0, voiced = track_pitch(voice)
    librosa = pytest.importorskip("librosa")
    yin = librosa.yin(voice.numpy(), fmin=60, fmax=500, sr=16000, frame_length=1280, hop_length=HOP, center=False)
    n = min(len(f0), len(yin))
    # librosa's window is half its frame and starts with it, as ours
    near = np.abs(1200 * np.log2(f0[:n].numpy() / yin[:n])) < 50
    assert near[voiced[:n].numpy()].mean() > 0.95
    parselmouth = pytest.importorskip("parselmouth")
    pitch = parselmouth.Sound(voice.double().numpy(), 16000).to_pitch_ac(HOP / 16000, 60, pitch_ceiling=500)
    times = (np.arange(len(f0)) * HOP + 450) / 16000
    praat = np.array([pitch.get_value_at_time(t) for t in times])
    both = voiced.numpy() & ~np.isnan(praat)
    assert (np.abs(1200 * np.log2(f0.numpy()[both] / praat[both])) < 50).mean() > 0.9
    assert (voiced.numpy() == ~np.isnan(praat)).mean() > 0.8


def test_scores_equal_those_of_mir_eval_and_scikit_learn(voice):
    melody, metrics = pytest.importorskip("mir_eval.melody"), pytest.importorskip("sklearn.metrics")
    estimate = voice + 0.02 * noise(len(voice))
    (ours, voiced_ours), (theirs, voiced_theirs) = track_pitch(estimate), track_pitch(voice)
    assert voicing_f1(estimate, voice) == pytest.approx(metrics.f1_score(voiced_theirs.numpy(), voiced_ours.numpy()))
    both = (voiced_ours & voiced_theirs).numpy()
    cents = melody.hz2cents(ours.numpy()[both]) - melody.hz2cents(theirs.numpy()[both])
    assert f0_error(estimate, voice) == pytest.approx(float(np.sqrt(np.square(cents).mean())), rel=1e-6)


def test_what_is_undefined_is_refused():
    with pytest.raises(AudioError, match="no frame is voiced in both"):
        f0_error(0.1 * noise(16000), tone(200))
    with pytest.raises(AudioError, match="no frame of the target"):
        voicing_f1(tone(200), 0.1 * noise(16000))
    with pytest.raises(AudioError, match="pitch needs"):
        track_pitch(tone(200)[:100])
    with pytest.raises(ShapeError, match="16000 Hz"):
        f0_error(tone(200), tone(200), 24000)

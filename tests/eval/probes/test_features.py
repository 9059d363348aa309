"""Features: codes at the fastest rate, log-mel frames, and hidden states of a small teacher."""

import numpy as np
import pytest
import torch

from toneme.codecs.errors import TonemeError
from toneme.eval.clips import Clip, find_clips
from toneme.eval.probes import features
from toneme.eval.probes.features import LogMel, TeacherFeatures, TokenFeatures
from toneme.eval.reconstruction import pack
from toneme.eval.systems import About, CodecSystem

from ...codecs.small_teachers import SETTINGS
from .corpus import write_corpus

SYSTEM = CodecSystem("made", "made", "made x2", "made 1", About(), 2)


def test_slow_streams_are_repeated_and_roles_are_known(tmp_path):
    found = {
        "codes": [pack(np.array([4, 5, 6])), pack(np.array([0, 1, 2, 3, 4]))], "rates": [25.0, 50.0], "sizes": [8, 16],
        "roles": ["semantic", "acoustic"],
    }  # fmt: skip
    both = TokenFeatures("made", SYSTEM, (0, 1), {"here": found})
    clip = Clip(tmp_path / "a.wav", "a.wav", "", "here")
    assert both.read(clip, "cpu").T.tolist() == [[4, 4, 5, 5, 6], [0, 1, 2, 3, 4]]
    assert both.frame_rate == 50
    assert both.kbps == pytest.approx((25 * 3 + 50 * 4) / 1000)
    assert both.of_role("acoustic") == (1,)
    slow = TokenFeatures("made", SYSTEM, (0,), {"here": found})
    assert (slow.frame_rate, slow.read(clip, "cpu").T.tolist()) == (25, [[4, 5, 6]])
    with pytest.raises(TonemeError, match="could not be encoded"):
        slow.read(Clip(tmp_path / "b.wav", "b.wav", "", "gone"), "cpu")


def test_log_mel_has_50_frames_a_second_and_hears_pitch(tmp_path):
    clips = find_clips(write_corpus(tmp_path / "corpus"), {".wav"})
    high, low = (LogMel().read(clip, "cpu") for clip in clips[:2])  # train/0 and train/1 by name
    assert high.shape == (13, 160)
    assert high[5, :80].argmax() > low[5, :80].argmax()


def test_teacher_is_read_where_its_weights_are(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers", reason="teachers are models of transformers")
    torch.manual_seed(0)
    model = transformers.WavLMModel(transformers.WavLMConfig(**SETTINGS))
    model.save_pretrained(tmp_path / "wavlm-base-plus")
    monkeypatch.setenv("TONEME_WEIGHTS", str(tmp_path))
    features._teacher.cache_clear()
    features.find_weights.cache_clear()
    clip = find_clips(write_corpus(tmp_path / "corpus"), {".wav"})[0]
    try:
        assert TeacherFeatures.obstacle() == ""
        assert TeacherFeatures().read(clip, "cpu").shape == (13, 24)
    finally:
        features._teacher.cache_clear()
        features.find_weights.cache_clear()

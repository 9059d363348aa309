"""Kaldi features: kaldi-native-fbank's, and those that the official SemantiCodec saw."""

import numpy as np
import pytest
import torch

from toneme.codecs.errors import ShapeError
from toneme.codecs.layers.fbank import kaldi_fbank

from .official import golden_case


def noise(samples: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(0)) * 3000 + 200


@pytest.mark.parametrize("taper", ["povey", "hanning"])
@pytest.mark.parametrize(("rate", "bins"), [(16000, 80), (16000, 128), (24000, 80)])
def test_features_equal_kaldis(taper: str, rate: int, bins: int):
    peer = pytest.importorskip("kaldi_native_fbank", reason="the peers extra is not installed")
    options = peer.FbankOptions()
    options.frame_opts.dither, options.frame_opts.samp_freq, options.frame_opts.window_type = 0, rate, taper
    options.mel_opts.num_bins = bins
    found, audio = peer.OnlineFbank(options), noise(rate // 2)
    found.accept_waveform(rate, audio[0].tolist())
    found.input_finished()
    expected = np.stack([found.get_frame(i) for i in range(found.num_frames_ready)])
    np.testing.assert_allclose(kaldi_fbank(audio, rate, bins, taper)[0], expected, atol=5e-4)  # logarithms of float32 sums


def test_features_equal_those_of_the_official_codec():
    case = golden_case("semanticodec_encoder_100", "short")
    audio = torch.nn.functional.pad(torch.from_numpy(case["in_audio"])[:, 0], (0, 163840 - 21920))
    mel = (kaldi_fbank(audio, bins=128, taper="hanning") + 4.2677393) / (2 * 4.5689974)
    np.testing.assert_allclose(mel[:, : case["mel"].shape[1]], case["mel"], atol=1e-3)


def test_frames_are_as_many_as_windows_fit():
    assert [kaldi_fbank(noise(n, 2)).shape for n in (0, 399, 400, 559, 560)] == [(2, frames, 80) for frames in (0, 0, 1, 1, 2)]


def test_a_constant_is_silence_and_gradients_flow():
    with torch.inference_mode():
        quiet = kaldi_fbank(torch.full((1, 800), 0.7), taper="hanning")
    np.testing.assert_allclose(quiet, np.log(np.finfo(np.float32).eps), atol=1e-6)
    audio = noise(800).requires_grad_()
    kaldi_fbank(audio, taper="hanning").sum().backward()
    assert audio.grad is not None
    assert torch.isfinite(audio.grad).all()


def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match=r"takes \[batch, samples\]"):
        kaldi_fbank(noise(800)[None])
    with pytest.raises(ShapeError, match="blackman"):
        kaldi_fbank(noise(800), taper="blackman")


def test_features_are_computed_in_32_bits():
    audio = noise(800).double()
    features = kaldi_fbank(audio)
    assert features.dtype == torch.float32
    assert torch.equal(features, kaldi_fbank(audio.float()))
    assert torch.equal(kaldi_fbank(audio.bfloat16()), kaldi_fbank(audio.bfloat16().float()))


def test_tables_that_inference_made_serve_training():
    with torch.inference_mode():
        kaldi_fbank(noise(880), 22000, bins=37)  # of sizes that no other test has: tables are kept
    audio = noise(880).requires_grad_()
    kaldi_fbank(audio, 22000, bins=37).sum().backward()
    assert audio.grad is not None

"""EnCodec's STFT distance: a closed form, and auraloss beside it."""

import math

import pytest

from toneme.eval.metrics.encodec_stft import RESOLUTIONS, encodec_stft

from ..signals import noise, worn


def test_a_doubled_signal_is_one_of_convergence_and_log_two():
    loud = noise(24000)[None] * 10
    assert encodec_stft(2 * loud, loud).item() == pytest.approx(0.5 * (1 + math.log(2)), rel=1e-3)
    assert encodec_stft(loud, loud).item() == 0


def test_it_is_half_of_auraloss(speech):
    auraloss = pytest.importorskip("auraloss")
    estimate = worn(speech) + 0.01 * noise(speech.shape[-1])
    target = speech + 0.01 * noise(speech.shape[-1], seed=1)  # above the two floors, which differ
    ffts, hops, windows = (list(part) for part in zip(*RESOLUTIONS, strict=True))
    theirs = auraloss.freq.MultiResolutionSTFTLoss(ffts, hops, windows)(estimate[None], target[None]).item()
    assert encodec_stft(estimate, target).item() == pytest.approx(theirs / 2, rel=1e-4)

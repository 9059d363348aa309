"""Delay: found to the sample, both ways, and numpy's correlation beside it."""

import numpy as np
import pytest
import torch

from toneme.codecs.errors import AudioError
from toneme.eval.metrics.delay import delay

from ..signals import noise


@pytest.mark.parametrize("samples", [0, 7, -31, 2300])
def test_it_is_what_the_signal_was_moved_by(samples):
    whole = noise(30000)
    target, estimate = whole[3000:27000], whole[3000 - samples : 27000 - samples]
    assert delay(-0.5 * estimate + estimate, target, 24000) == pytest.approx(1000 * samples / 24000)


def test_it_equals_numpys_correlation(speech):
    target, estimate = speech[0, :4000], speech[0, :4000].roll(55)
    full = np.correlate(estimate.double().numpy(), target.double().numpy(), "full")
    assert delay(estimate, target, 24000) == pytest.approx(1000 * (full[3999 - 2400 : 3999 + 2401].argmax() - 2400) / 24000)


def test_silence_has_none():
    with pytest.raises(AudioError, match="silence"):
        delay(torch.zeros(100), torch.ones(100), 24000)

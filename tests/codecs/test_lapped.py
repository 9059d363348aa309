"""Lapped transform: perfect reconstruction with the whole basis, explicit state, the delay that it states."""

import pytest
import torch

from toneme.codecs.layers.lapped import LappedAnalysis, LappedSynthesis, cosine_basis


def test_the_basis_is_orthonormal_over_time_and_frequency():
    basis = cosine_basis(16, 16).double()
    frames = 4
    whole = torch.zeros(frames * 16, (frames + 1) * 16, dtype=torch.float64)
    for t in range(frames):
        whole[t * 16 : (t + 1) * 16, t * 16 : t * 16 + 32] = basis
    torch.testing.assert_close(whole @ whole.T, torch.eye(frames * 16, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("delay", [0, 5, 40])
def test_all_coefficients_give_the_waveform_back_late_by_a_hop_and_the_delay(delay):
    analysis, synthesis = LappedAnalysis(16, 16), LappedSynthesis(16, 16, delay)
    x = torch.randn(2, 320)
    shape, _ = analysis.step(x, analysis.initial_state(2))
    padded = torch.cat([torch.zeros(2, 16), x], 1).unfold(-1, 32, 16)
    level = (padded.square().sum(-1, keepdim=True) + 32e-8).sqrt()
    y, _ = synthesis.step(shape * level, synthesis.initial_state(2))
    late = 16 + delay
    torch.testing.assert_close(y[:, late:], x[:, : 320 - late], atol=1e-5, rtol=0)


@pytest.mark.parametrize("split", [[1, 9], [5, 5], [1] * 10])
@torch.no_grad()
def test_steps_joined_equal_the_whole(split):
    analysis, synthesis = LappedAnalysis(16, 6), LappedSynthesis(16, 6, 21)
    x = torch.randn(2, 160)
    whole, _ = analysis.step(x, analysis.initial_state(2))
    back, _ = synthesis.step(whole, synthesis.initial_state(2))
    state, late, shapes, sounds = analysis.initial_state(2), synthesis.initial_state(2), [], []
    for chunk in x.split([16 * n for n in split], dim=1):
        shape, state = analysis.step(chunk, state)
        sound, late = synthesis.step(shape, late)
        shapes.append(shape)
        sounds.append(sound)
    torch.testing.assert_close(torch.cat(shapes, 1), whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.cat(sounds, 1), back, atol=1e-6, rtol=0)


def test_the_level_does_not_change_the_shape():
    analysis = LappedAnalysis(16, 6)
    x = torch.randn(1, 160)
    ours, theirs = (analysis.step(gain * x, analysis.initial_state(1))[0] for gain in (1.0, 0.1))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
